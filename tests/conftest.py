"""Fixtures for all tests: servers, databases, Keystone; markers for what a test needs; who may run at the same time.

    server        server(**options) starts a service of one's own; see tests/bed/servers.py for the options
    service       a running service shared by many tests, on each engine in turn: use a `project` of your own
    project       the name of a project that nobody else uses
    many_files    room for thousands of sockets in the test's own process
    database      an empty database of one's own, on each engine in turn
    engine        the engine's name, for tests that make their databases themselves
    keystone      the Keystone of the test bed
    glance        the virtual environment with the real Glance

What needs a server of the test bed is marked `services` (or `glance`) by the fixtures that it uses, and what starts
process after process is marked `slow` by its folder. A server that
logged a traceback fails the test, unless the test said server.allow_traceback(pattern).
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.bed.databases import Database, engines, needed
from tests.bed.keystone import Keystone
from tests.bed.servers import Server
from tests.bed.turns import turn

StartServer = Callable[..., Server]

NEEDS = {"keystone": "services", "keystone_url": "services", "memcached": "services", "glance": "glance"}
"""Fixture -> the marker of tests that use it."""
PROCESSES = frozenset({"bed", "cli", "doctor", "durability"})
"""Folders whose tests start a process or more each: not for the inner loop."""
SERVERS = pytest.StashKey[list[Server]]()
ROOM = pytest.StashKey[Path]()


# -- who runs when ---------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[ROOM] = Path(config.workerinput["room"])
    elif getattr(config.option, "numprocesses", None):
        config.stash[ROOM] = Path(tempfile.mkdtemp(prefix="fanlight-turns-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each process of a distributed run where all of them meet."""
    node.workerinput["room"] = str(node.config.stash[ROOM])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and ROOM in config.stash:
        shutil.rmtree(config.stash[ROOM])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Outermost, so that the time limit of a test does not count the wait for its turn."""
    room = item.config.stash.get(ROOM, None)
    alone = item.get_closest_marker("alone") is not None
    with turn(room, alone=alone) if room else nullcontext():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by need; the longest first and those that want to be alone last, so that nobody waits for long."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in NEEDS:
                item.add_marker(NEEDS[fixture])
        folders = item.path.relative_to(item.config.rootpath).parts
        if "clients" in folders:
            item.add_marker("clients")
        if not PROCESSES.isdisjoint(folders):
            item.add_marker("slow")
    items.sort(key=lambda item: (item.get_closest_marker("alone") is not None, item.get_closest_marker("kill") is None))


# -- servers ---------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the end of what its servers logged."""
    report = yield
    if report.failed:
        for server in item.stash.get(SERVERS, []):
            report.sections.append((f"log of {server.folder.name}", server.log_text()[-6000:]))
    return report


def _require_clean_log(server: Server, since: int = 0) -> None:
    found = server.unexpected_tracebacks(since)
    assert not found, "the server logged:\n" + "\n".join(found)


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartServer]:
    started: list[Server] = []
    request.node.stash.setdefault(SERVERS, started)

    def start(**options: Any) -> Server:
        one = Server(tmp_path / f"server-{len(started)}", **options)
        started.append(one)
        return one.start()

    yield start
    for one in reversed(started):
        one.end()
    for one in started:
        _require_clean_log(one)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for thousands of sockets in this process, while the test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def shared_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """One service for each engine, started when the first test asks."""
    made: dict[str, tuple[Server, Database]] = {}

    def find(engine: str) -> Server:
        if engine not in made:
            folder = tmp_path_factory.mktemp(f"service-{engine}")
            database = Database(engine, folder)
            made[engine] = Server(folder, database=database.url), database
            made[engine][0].start()
        return made[engine][0]

    yield find
    for running, database in made.values():
        running.end()
        database.drop()


@pytest.fixture
def service(request: pytest.FixtureRequest, engine: str, shared_services: Callable[[str], Server]) -> Iterator[Server]:
    one = shared_services(engine)
    request.node.stash.setdefault(SERVERS, [one])
    since = one.log_size()
    yield one
    _require_clean_log(one, since)


@pytest.fixture
def project() -> str:
    return f"project-{uuid.uuid4().hex}"


# -- what stands beside them -----------------------------------------------------------------------------------------


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=[pytest.mark.services] if name != "sqlite" else []) for name in engines()],
)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def database(engine: str, tmp_path: Path) -> Iterator[Database]:
    made = Database(engine, tmp_path)
    yield made
    made.drop()


@pytest.fixture(scope="session")
def keystone() -> Iterator[Keystone]:
    made = Keystone(needed("FANLIGHT_TEST_KEYSTONE"), needed("FANLIGHT_TEST_MEMCACHED"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def region() -> str:
    """A region of Keystone for this process of the test run alone."""
    return f"region-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


@pytest.fixture(scope="session")
def glance() -> Path:
    return Path(needed("FANLIGHT_TEST_GLANCE"))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What has been collected stays: the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()
