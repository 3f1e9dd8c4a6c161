"""`metadata_encryption_key`: the catalogue holds encrypted locations; the real Glance reads ours, and we read its."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.errors import BadStoreConfiguration, SettingsError
from fanlight.stores.sealing import Seal
from tests.bed.servers import Server
from tests.conftest import StartServer

KEY = "0123456789abcdef"
URLS = [f"swift+https://service%3Aglance:pw@keystone.example.com:5000/v3/glance/{'x' * length}" for length in range(70)]
URLS += ["file:///srv/images/ä ö/1", "a://", "rbd://fsid/images/id/snap"]
PROGRAM = """
import json, sys
from glance.common import crypt
way, key, texts = json.load(sys.stdin)
print(json.dumps([getattr(crypt, "urlsafe_" + way)(key, text) for text in texts]))
"""


def by_glance(glance: Path, way: str, key: str, texts: list[str]) -> list[str]:
    """`encrypt` or `decrypt` by the real Glance's own module."""
    done = subprocess.run(
        [str(glance / "bin" / "python"), "-W", "ignore", "-c", PROGRAM],
        input=json.dumps([way, key, texts]),
        capture_output=True,
        check=True,
        timeout=60,
        text=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("size", [16, 24, 32])
def test_glance_reads_ours_and_we_read_its(glance: Path, size: int) -> None:
    key = ("k%y" * 11)[:size]
    seal = Seal(key)
    closed = [seal.close(url) for url in URLS]
    assert by_glance(glance, "decrypt", key, closed) == URLS
    theirs = by_glance(glance, "encrypt", key, URLS)
    assert [seal.open(text) for text in theirs] == URLS
    assert [len(text) for text in theirs] == [len(text) for text in closed]


def test_what_it_looks_like() -> None:
    seal = Seal(KEY)
    texts = {seal.close("file:///x") for _ in range(200)}
    assert len(texts) == 200  # a vector of its own each time
    assert not [text for text in texts if not re.fullmatch(r"[A-Za-z0-9_-]+={0,2}", text) or "file" in text]
    assert {seal.open(text) for text in texts} == {"file:///x"}
    assert seal.open("file:///never/encrypted") == "file:///never/encrypted"


@pytest.mark.parametrize("text", ["", "x", "AAAA", "ä", "-" * 88, "=" * 4])
def test_what_was_never_sealed(text: str) -> None:
    with pytest.raises(BadStoreConfiguration, match="metadata_encryption_key"):
        Seal(KEY).open(text)


def test_another_key_is_told() -> None:
    other = Seal("f" * 32)
    for url in URLS:
        with pytest.raises(BadStoreConfiguration, match="metadata_encryption_key"):
            other.open(Seal(KEY).close(url))


@pytest.mark.parametrize("key", ["x", "x" * 15, "x" * 17, "ä" * 16 + "x"])
def test_keys_that_cannot_be(key: str) -> None:
    with pytest.raises(SettingsError, match="16, 24 or 32 bytes"):
        Seal(key)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["Pl4nted-S3cret!", "Schlüssel-123456"])
def test_such_a_key_stops_the_start(key: str, tmp_path: Path) -> None:
    """15 bytes, and 16 letters that are 17 bytes. The key itself is not told."""
    one = Server(tmp_path, config={"DEFAULT": {"metadata_encryption_key": key}})
    with pytest.raises(AssertionError, match="metadata_encryption_key"):
        one.start()
    one.end()
    assert key not in one.log_text()


def settings(key: str | None) -> dict[str, dict[str, object]]:
    shown: dict[str, object] = {"show_image_direct_url": True, "show_multiple_locations": True}
    if key:
        shown["metadata_encryption_key"] = key
    return {"DEFAULT": shown, "paste_deploy": {"flavor": "fakeauth"}}


def stored(server: Server, image_id: str) -> str:
    value: str = server.rows("SELECT value FROM image_locations WHERE image_id = :id", id=image_id)[0]["value"]
    return value


def test_in_the_service(server: StartServer, glance: Path) -> None:
    one = server(config=settings(KEY))
    member = one.as_member("p")
    image = member.create_active(b"secret place")
    path = f"/v2/images/{image['id']}"
    row = stored(one, image["id"])
    assert "://" not in row
    assert by_glance(glance, "decrypt", KEY, [row]) == [image["direct_url"]]
    assert image["direct_url"].startswith("file:///")
    assert image["locations"][0]["url"] == image["direct_url"]
    assert member.get(path + "/file").content == b"secret place"
    # A row of Glance's.
    (theirs,) = by_glance(glance, "encrypt", KEY, [image["direct_url"]])
    one.rows("UPDATE image_locations SET value = :value", value=theirs)
    assert member.show(image["id"])["direct_url"] == image["direct_url"]
    assert member.get(path + "/file").content == b"secret place"
    assert member.delete(path).status_code == 204
    assert one.files() == {}


@pytest.mark.slow
def test_rows_from_before_the_key(server: StartServer) -> None:
    one = server(config=settings(None))
    image = one.as_member("p").create_active(b"old")
    one.stop()
    one.configure(settings(KEY))
    one.start()
    assert one.as_member("p").get(f"/v2/images/{image['id']}/file").content == b"old"


@pytest.mark.slow
def test_with_another_key(server: StartServer) -> None:
    """The record can be seen, the data cannot be read or lost, and it is said why."""
    quiet: dict[str, dict[str, object]] = {
        "DEFAULT": {"metadata_encryption_key": KEY},
        "paste_deploy": {"flavor": "fakeauth"},
    }
    one = server(config=quiet)
    image = one.as_member("p").create_active(b"data")
    path = f"/v2/images/{image['id']}"
    for key in ("f" * 32, None):
        one.stop()
        one.configure({**quiet, "DEFAULT": {"metadata_encryption_key": key} if key else {}})
        one.start()
        member = one.as_member("p")
        assert member.show(image["id"])["status"] == "active"
        one.allow_traceback("metadata_encryption_key")
        answer = member.get(path + "/file")
        assert answer.status_code == 500, answer.text
        one.wait_for_log("metadata_encryption_key is not the key" if key else "metadata_encryption_key is missing")
    assert one.as_member("p").delete(path).status_code == 204
    assert list(one.files()) == [image["id"]]
    one.stop()
    one.configure(quiet)
    one.start()
    one.wait_for_log("cleaned up after")
    assert one.files() == {}


@pytest.mark.slow
def test_a_killed_upload_is_undone(server: StartServer) -> None:
    """What the lease says of it is encrypted, too."""
    one = server(config=settings(KEY))
    member = one.as_member("p")
    image = member.create()

    def stuck() -> Iterator[bytes]:
        yield b"some bytes"
        for _ in range(500):
            leases = one.rows("SELECT url FROM fanlight_leases")
            if leases:
                break
            time.sleep(0.01)
        assert [("://" in lease["url"]) for lease in leases] == [False]
        one.kill()
        yield b"more"

    with pytest.raises(Exception, match=r"(?i)disconnect|reset|broken|closed"):
        member.upload(image["id"], stuck())
    one.start()
    one.wait_for_log("cleaned up after")
    assert one.files() == {}
    assert one.as_member("p").show(image["id"])["status"] == "queued"
