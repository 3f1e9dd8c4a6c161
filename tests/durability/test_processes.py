"""Processes that die, end, share a database or read their files again, in the middle of what they do."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import httpx
import pytest

from tests.bed.callers import Client
from tests.bed.databases import Database
from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.durability.wire import PROJECT, SlowUpload, assert_has, assert_waits_for_data
from tests.edge.raw import eventually

MIB = 1 << 20


@pytest.mark.parametrize("length", [None, 8 * MIB])
def test_kill_in_the_middle_of_an_upload(server: StartServer, length: int | None) -> None:
    one = server()
    member = one.as_member(PROJECT)
    image, other = member.create(), member.create_active(b"safe")
    with SlowUpload(one, image["id"], length) as upload:
        upload.send(b"a" * (5 * MIB))
        eventually(lambda: sum(one.files().values()) > MIB)
        assert member.show(image["id"])["status"] == "saving"
        one.kill()
    one.start()
    member = one.as_member(PROJECT)
    eventually(lambda: member.show(image["id"])["status"] == "queued")
    assert_waits_for_data(one, member, image["id"])
    assert_has(one, member, other["id"], b"safe")
    assert member.upload(image["id"], b"at last").status_code == 204
    assert_has(one, member, image["id"], b"at last")


def test_kill_of_one_worker_alone(server: StartServer) -> None:
    """The supervisor starts another, and that one cleans up after it."""
    one = server()
    member = one.as_member(PROJECT)
    image = member.create()
    with SlowUpload(one, image["id"], None) as upload:
        upload.send(b"a" * (5 * MIB))
        eventually(lambda: member.show(image["id"])["status"] == "saving")
        [worker] = [pid for pid in one.processes() if one.process is not None and pid != one.process.pid]
        os.kill(worker, signal.SIGKILL)

    def queued() -> bool:
        try:
            return bool(one.as_member(PROJECT).show(image["id"])["status"] == "queued")
        except httpx.TransportError:
            return False

    eventually(queued, 20)
    assert_waits_for_data(one, one.as_member(PROJECT), image["id"])


def refused(server: Server) -> bool:
    """Whether the server accepts no connection any more."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
            return connection.recv(1) == b""
    except OSError:
        return True


@pytest.mark.parametrize("length", [None, 3 * MIB])
def test_sigterm_lets_transfers_end(server: StartServer, length: int | None) -> None:
    """The upload and the download that run are completed; new ones find no server."""
    one = server()
    member = one.as_member(PROJECT)
    data = bytes(range(256)) * (16 * MIB // 256)
    image, big = member.create(), member.create_active(data)
    request = member.build_request("GET", f"/v2/images/{big['id']}/file")
    with SlowUpload(one, image["id"], length) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: one.rows("SELECT 1 FROM images WHERE status = 'saving'"))
        answer = member.send(request, stream=True)
        blocks = answer.iter_raw(65_536)
        got = [next(blocks)]
        one.signal(signal.SIGTERM)
        eventually(lambda: refused(one))
        upload.send(b"b" * MIB)
        time.sleep(0.3)
        upload.send(b"c" * MIB)
        assert upload.end() == 204
        got += blocks
    assert b"".join(got) == data
    assert one.process is not None
    assert one.process.wait(20) == 0
    one.start()
    assert_has(one, one.as_member(PROJECT), image["id"], b"a" * MIB + b"b" * MIB + b"c" * MIB)


def test_sigterm_waits_no_longer_than_it_may(server: StartServer) -> None:
    """A client that stalls for ever does not keep the service from ending, and leaves nothing behind."""
    one = server(config={"fanlight": {"graceful_seconds": 1}})
    image = one.as_member(PROJECT).create()
    with SlowUpload(one, image["id"], None) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: one.rows("SELECT 1 FROM images WHERE status = 'saving'"))
        begin = time.monotonic()
        one.signal(signal.SIGTERM)
        assert one.process is not None
        assert one.process.wait(20) == 0
        assert time.monotonic() - begin < 15
    assert [name for name in one.files() if image["id"] in name] == []
    assert one.rows("SELECT status FROM images WHERE id = :id", id=image["id"]) == [{"status": "queued"}]


# -- two servers over one catalogue and one store ----------------------------------------------------------------------


@pytest.fixture
def pair(server: StartServer, database: Database) -> tuple[Server, Server]:
    """Two services, each with two workers, on one database (of each engine in turn) and one folder."""
    first = server(workers=2, database=database.url)
    return first, server(workers=2, data_dir=first.data_dir, database=database.url)


def test_what_one_writes_the_other_reads_at_once(pair: tuple[Server, Server]) -> None:
    """Nothing that is kept between requests may be older than the last commit of any process."""
    writer, reader = (one.as_member(PROJECT) for one in pair)
    for turn in range(15):
        if turn % 2:
            writer, reader = reader, writer
        image_id = writer.create(name="first")["id"]
        url = f"/v2/images/{image_id}"
        assert reader.show(image_id)["name"] == "first"
        assert image_id in [each["id"] for each in reader.get("/v2/images").json()["images"]]
        assert writer.change(image_id, {"op": "replace", "path": "/name", "value": "second"}).status_code == 200
        assert reader.show(image_id)["name"] == "second"
        assert writer.put(f"{url}/tags/t").status_code == 204
        assert reader.show(image_id)["tags"] == ["t"]
        assert writer.upload(image_id, b"data%d" % turn).status_code == 204
        assert reader.show(image_id)["status"] == "active"
        assert reader.get(f"{url}/file").content == b"data%d" % turn
        assert writer.post(f"{url}/actions/deactivate").status_code == 204
        assert reader.get(f"{url}/file").status_code == 403
        assert writer.delete(url).status_code == 204
        assert reader.get(url).status_code == 404
        assert image_id not in [each["id"] for each in reader.get("/v2/images").json()["images"]]


def test_both_write_and_nothing_is_lost(pair: tuple[Server, Server]) -> None:
    image = pair[0].as_member(PROJECT).create()
    failed: list[int] = []

    def write(number: int) -> None:
        client = pair[number % 2].as_member(PROJECT)
        for turn in range(4):
            operation = {"op": "add", "path": f"/p{number}-{turn}", "value": "v"}
            failed.extend({client.change(image["id"], operation).status_code} - {200})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    shown = pair[1].as_member(PROJECT).show(image["id"])
    assert {f"p{number}-{turn}" for number in range(10) for turn in range(4)} <= set(shown)


def test_a_delete_here_ends_an_upload_there(pair: tuple[Server, Server]) -> None:
    first, second = pair
    image = first.as_member(PROJECT).create()
    with SlowUpload(first, image["id"], None) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: second.as_member(PROJECT).show(image["id"])["status"] == "saving")
        assert second.as_member(PROJECT).delete(f"/v2/images/{image['id']}").status_code == 204
        upload.send(b"b" * MIB)
        assert upload.end() == 410
    assert first.files() == {}


def test_one_cleans_up_after_the_other(pair: tuple[Server, Server]) -> None:
    first, second = pair
    image = first.as_member(PROJECT).create()
    with SlowUpload(first, image["id"], None) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: second.as_member(PROJECT).show(image["id"])["status"] == "saving")
        first.kill()
    eventually(lambda: second.as_member(PROJECT).show(image["id"])["status"] == "queued", 40)
    assert_waits_for_data(second, second.as_member(PROJECT), image["id"])
    assert second.as_member(PROJECT).upload(image["id"], b"data").status_code == 204


def test_a_start_beside_a_running_upload_does_not_touch_it(server: StartServer, database: Database) -> None:
    """The recovery of a second process knows that the first still lives."""
    first = server(database=database.url)
    image = first.as_member(PROJECT).create()
    with SlowUpload(first, image["id"], None) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: first.as_member(PROJECT).show(image["id"])["status"] == "saving")
        second = server(data_dir=first.data_dir, database=database.url)
        assert second.as_member(PROJECT).show(image["id"])["status"] == "saving"
        upload.send(b"b" * MIB)
        assert upload.end() == 204
    assert_has(second, second.as_member(PROJECT), image["id"], b"a" * MIB + b"b" * MIB)


# -- reading files again -----------------------------------------------------------------------------------------------


def status_of_create(client: Client, **fields: object) -> int:
    return client.post("/v2/images", json=fields).status_code


def test_a_changed_policy_file_counts_within_seconds(server: StartServer) -> None:
    one = server(policy={"add_image": "role:admin"})
    member = one.as_member(PROJECT)
    assert status_of_create(member) == 403
    one.write_policy({"add_image": "role:member", "get_images": "!"})
    eventually(lambda: status_of_create(member) == 201)
    assert member.get("/v2/images").status_code == 403
    one.write_policy({})
    eventually(lambda: member.get("/v2/images").status_code == 200)


def test_a_policy_file_appears_and_is_broken(server: StartServer) -> None:
    one = server()
    member = one.as_member(PROJECT)
    assert status_of_create(member) == 201
    one.write_policy({"add_image": "!"})
    eventually(lambda: status_of_create(member) == 403)
    one.write_policy('"add_image": "((("\n  x: [')
    time.sleep(1.5)
    # What cannot be read changes nothing: the last good rules hold, and the log says so.
    assert status_of_create(member) == 403
    one.wait_for_log("policy")


def limits(quota: int) -> dict[str, dict[str, object]]:
    return {"paste_deploy": {"flavor": "fakeauth"}, "DEFAULT": {"image_tag_quota": quota}}


@pytest.fixture
def reloaded(server: StartServer) -> Server:
    return server(workers=2, config=limits(1))


def test_sighup_reads_the_configuration_again(reloaded: Server) -> None:
    def status() -> int:
        return status_of_create(reloaded.as_member(PROJECT), tags=["a", "b"])

    assert status() == 413
    before = reloaded.processes()
    reloaded.configure(limits(2))
    assert status() == 413
    reloaded.signal(signal.SIGHUP)
    eventually(lambda: [status() for _ in range(6)] == [201] * 6, 15)
    assert reloaded.process is not None
    assert reloaded.process.pid in reloaded.processes()
    assert set(reloaded.processes()) != set(before)


def test_sighup_during_an_upload(reloaded: Server) -> None:
    """A reload interrupts nothing."""
    image = reloaded.as_member(PROJECT).create()
    with SlowUpload(reloaded, image["id"], None) as upload:
        upload.send(b"a" * MIB)
        eventually(lambda: reloaded.rows("SELECT 1 FROM images WHERE status = 'saving'"))
        reloaded.configure(limits(2))
        reloaded.signal(signal.SIGHUP)
        eventually(lambda: status_of_create(reloaded.as_member(PROJECT), tags=["a", "b"]) == 201, 15)
        upload.send(b"b" * MIB)
        assert upload.end() == 204
    assert_has(reloaded, reloaded.as_member(PROJECT), image["id"], b"a" * MIB + b"b" * MIB)


def test_sighup_with_a_wrong_file_changes_nothing(reloaded: Server) -> None:
    before = reloaded.processes()
    reloaded.config_file.write_text("[DEFAULT]\nimage_tag_quota = many\n")
    since = reloaded.log_size()
    reloaded.signal(signal.SIGHUP)
    reloaded.wait_for_log("image_tag_quota", since=since)
    time.sleep(0.5)
    assert status_of_create(reloaded.as_member(PROJECT), tags=["a", "b"]) == 413
    assert status_of_create(reloaded.as_member(PROJECT), tags=["a"]) == 201
    assert reloaded.processes() == before
