"""Downloads of images that lie on a web server: one that breaks off is never taken for whole, one that may not be
reached is told without a failure of ours. The locations are put into the database: no call of the API adds them yet.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.bed.odd import Odd
from tests.bed.servers import TRACEBACK, Server
from tests.edge.raw import read_answer
from tests.stores.place import pattern

MIB = 1 << 20
DATA = pattern(3 * MIB + 5)
HIDDEN = ("http://127.0.0.1:9/hidden", "http://169.254.169.254/hidden", "http://[::1]/hidden")
"""Hosts that no location may reach."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that misbehaves as the path says, and has DATA as `image`."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "image").write_bytes(DATA)
    handler = type("Handler", (Odd,), {"folder": folder, "log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def serve(folder: Path, **web: object) -> Server:
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "local:file, web:http, more:http"},
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": folder / "images", "weight": 1},
        "web": {"https_insecure": False, "weight": 3, **web},
        "more": {"https_insecure": False, "weight": 2, "http_allowed_hosts": "127.0.0.1"},
    }
    return Server(folder, config=config).start()


@pytest.fixture(scope="module")
def reaching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose store `web` may read from this machine."""
    one = serve(tmp_path_factory.mktemp("reaching"), http_allowed_hosts="127.0.0.1", http_read_timeout=5)
    yield one
    one.end()
    assert one.unexpected_tracebacks() == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose store `web` may not."""
    one = serve(tmp_path_factory.mktemp("guarded"))
    yield one
    one.end()
    assert one.unexpected_tracebacks() == []


def placed(server: Server, *urls: str, keep: bool = False, stores: Sequence[str] = ("web", "more")) -> str:
    """The path of the data of an active image of DATA's size that lies at `urls`; `keep`: in the store `local`, too."""
    image_id: str = server.as_member("p").create_active(DATA)["id"]
    for url, store in zip(urls, stores, strict=False):
        server.rows(
            "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, deleted) SELECT image_id, "
            ":url, :meta, status, created_at, deleted FROM image_locations WHERE image_id = :id LIMIT 1",
            id=image_id,
            url=url,
            meta=json.dumps({"store": store}),
        )
    if not keep:
        server.rows("DELETE FROM image_locations WHERE image_id = :id AND value LIKE 'file:%'", id=image_id)
    return f"/v2/images/{image_id}/file"


# -- servers that do not keep what they promise ----------------------------------------------------------------------


def test_a_remote_location(reaching: Server, odd: str) -> None:
    path = placed(reaching, f"{odd}/files/image")
    member = reaching.as_member("p")
    assert member.get(path).content == DATA
    part = member.get(path, headers={"Range": "bytes=5-1999999"})
    assert (part.status_code, part.content) == (206, DATA[5:2_000_000])


@pytest.mark.parametrize("way", ["cut", "reset"])
@pytest.mark.parametrize("given", [MIB + 1, len(DATA) - 1])
def test_a_body_that_breaks_off_is_seen_to_break_off(reaching: Server, odd: str, way: str, given: int) -> None:
    since = reaching.log_size()
    path = placed(reaching, f"{odd}/{way}/{given}/image")
    for status, header in ((200, "X-Whole: yes"), (206, f"Range: bytes=0-{len(DATA) - 1}")):
        with socket.create_connection(("127.0.0.1", reaching.port), 30) as connection:
            lines = (f"GET {path} HTTP/1.1", "Host: x", "X-Auth-Token: u:p:member", header, "", "")
            connection.sendall("\r\n".join(lines).encode())
            answer = read_answer(connection)
        assert (answer.status, answer.headers["content-length"]) == (status, str(len(DATA)))
        assert not answer.complete
        assert MIB <= len(answer.body) < len(DATA)
        assert answer.body == DATA[: len(answer.body)]
    reaching.wait_for_log(f" WARNING .*GET {path}: The s", since=since)


def test_nothing_at_all_is_no_download(reaching: Server, odd: str) -> None:
    """What breaks off in the first block has no answer that begins."""
    answer = reaching.as_member("p").get(placed(reaching, f"{odd}/cut/0/image"))
    assert answer.status_code == 500
    assert odd not in answer.text


def test_the_next_location_goes_on_where_one_breaks_off(reaching: Server, odd: str) -> None:
    since = reaching.log_size()
    path = placed(reaching, f"{odd}/cut/{MIB + 1}/image", f"{odd}/cut/{2 * MIB}/image", keep=True)
    assert reaching.as_member("p").get(path).content == DATA
    reaching.wait_for_log("cannot be read from store more", since=since)
    assert TRACEBACK not in reaching.log_text(since)


# -- hosts that may not be reached -----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", HIDDEN)
def test_a_forbidden_host_is_an_unusable_store(guarded: Server, url: str) -> None:
    """503 like a server that is away, one warning, and not a word of where the image would lie."""
    path = placed(guarded, url)
    since = guarded.log_size()
    identity = {"X-Openstack-Request-Id": "req-hidden", "Accept": "application/json"}
    for header in ({}, {"Range": "bytes=0-1"}):
        answer = guarded.as_member("p").get(path, headers={**identity, **header})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "refuses" in answer.json()["message"]
        assert not re.search(r"hidden|127|169|::1|may not be reached", answer.text)
    guarded.wait_for_log(r"(ACCESS.*req-hidden(.|\n)*){2}", since=since)
    lines = [line for line in guarded.log_text(since).splitlines() if " ACCESS " not in line]
    assert len(lines) == 2, lines
    told = r" WARNING .* \[req-hidden\] .*cannot be read from store web: The host .* may not be reached"
    assert all(re.search(told, line) for line in lines)


def test_a_forbidden_host_is_passed_by(guarded: Server, odd: str) -> None:
    member = guarded.as_member("p")
    assert member.get(placed(guarded, HIDDEN[0], f"{odd}/files/image")).content == DATA
    assert member.get(placed(guarded, HIDDEN[1], keep=True)).content == DATA
    # Where none has the data, the location that was tried last decides (Image API V2, "Download").
    nothing = f"{odd}/files/nothing"
    assert member.get(placed(guarded, HIDDEN[0], nothing)).status_code == 204
    assert member.get(placed(guarded, HIDDEN[0], HIDDEN[1])).status_code == 503


def test_a_redirect_to_a_forbidden_host(reaching: Server, odd: str) -> None:
    since = reaching.log_size()
    path = placed(reaching, f"{odd}/to/302?http://169.254.169.254/latest/meta-data/")
    answer = reaching.as_member("p").get(path)
    assert answer.status_code == 503
    assert "meta-data" not in answer.text
    assert TRACEBACK not in reaching.log_text(since)


def test_a_server_that_is_away_is_told_alike(reaching: Server) -> None:
    """The name of the host is the location's, too."""
    answer = reaching.as_member("p").get(placed(reaching, "http://nowhere.invalid/hidden"))
    assert answer.status_code == 503
    assert not re.search("hidden|nowhere", answer.text)
