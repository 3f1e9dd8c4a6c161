"""`fanlight stores`: list, check and measure, on a good store, a read-only one and one that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stores.conformance import closed_port

CONFIGURATION = """
[DEFAULT]
enabled_backends = fast:file, web:http, objects:s3
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/images
weight = 7
store_description = the quick one
[objects]
s3_store_host = http://127.0.0.1:{port}
s3_store_access_key = planted-access
s3_store_secret_key = planted-secret
s3_store_bucket = images
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    file = tmp_path / "glance-api.conf"
    file.write_text(CONFIGURATION.format(folder=tmp_path, port=closed_port()))
    return file


def fanlight(*words: str | Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "fanlight", "stores", *words], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert "planted" not in done.stdout + done.stderr
    return done.returncode, (done.stdout or done.stderr).splitlines()


def test_list(configuration: Path) -> None:
    code, lines = fanlight("list", "--config-file", configuration)
    assert code == 0
    assert lines == [
        "ok   fast: file, weight 7, default, the quick one",
        "ok   web: http, weight 0",
        "ok   objects: s3, weight 0",
    ]


def test_check_names_the_store_that_is_not_there(configuration: Path) -> None:
    code, lines = fanlight("check", "--config-file", configuration)
    assert code == 1
    found = [line.partition(":")[0] for line in lines if line[:4] in ("ok  ", "BAD ")]
    assert found == ["ok   fast", "ok   web", "BAD  objects"]
    assert fanlight("check", "--config-file", configuration, "fast")[0] == 0


def test_check_makes_nothing(configuration: Path, tmp_path: Path) -> None:
    code, lines = fanlight("check", "--config-file", configuration, "fast", "web")
    assert (code, lines[0]) == (0, f"ok   fast: {tmp_path}/images will be made")
    assert list(tmp_path.iterdir()) == [configuration]
    (tmp_path / "images").mkdir()
    assert "MiB free" in fanlight("check", "--config-file", configuration, "fast")[1][0]
    configuration.write_text(CONFIGURATION.format(folder="/etc/passwd/x", port=closed_port()))
    code, lines = fanlight("check", "--config-file", configuration, "fast")
    assert (code, lines[-1]) == (1, "BAD  fast: /etc/passwd/x/images cannot be made")


def test_measure_leaves_nothing(configuration: Path, tmp_path: Path) -> None:
    code, lines = fanlight("measure", "--config-file", configuration, "--size", "3", "fast", "web")
    assert code == 0
    assert lines[0].startswith("ok   fast: added at ")
    assert "MB/s, first byte after" in lines[0]
    assert lines[1] == "ok   web: read only: nothing to measure"
    assert list((tmp_path / "images").iterdir()) == []
    assert fanlight("measure", "--config-file", configuration, "objects")[0] == 1


def test_unknown_stores(configuration: Path) -> None:
    for command in ("check", "measure"):
        code, lines = fanlight(command, "--config-file", configuration, "nowhere")
        assert (code, lines[-1]) == (1, "fanlight: There is no store nowhere.")
