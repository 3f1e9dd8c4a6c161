"""Locations that clients change by PATCH (Image API V2, "Update an image"; facts 11.1), where the operator lets them.

Over the real store of web servers, and a store of the test's own whose objects can be removed, or not (shop.py).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.api import shop
from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer
from tests.edge.raw import eventually

VALID = {"checksum": "a" * 32, "os_hash_algo": "sha512", "os_hash_value": "b" * 128}
DRAFT_4 = "application/openstack-images-v2.0-json-patch"


class Web(BaseHTTPRequestHandler):
    """`/N` and everything below it is N bytes; what was asked is written down."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        size = re.match(r"/(\d+)", self.path)
        self.send_response(200 if size else 404)
        self.send_header("Content-Length", size[1] if size else "0")
        self.end_headers()
        if size and self.command == "GET":
            self.wfile.write(b"w" * int(size[1]))

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    Web.asked.clear()


class Places:
    """A service with a web store and a shop, and the folder of the shop's objects."""

    def __init__(self, service: Server, objects: Path) -> None:
        self.service, self.objects = service, objects
        self.member, self.admin = service.as_member("p"), service.as_admin("a")

    def put(self, name: str, data: bytes = b"shop!") -> str:
        """The URL of a new object."""
        (self.objects / name).write_bytes(data)
        return f"shop://{name}"

    def tell(self, name: str, what: str) -> Path:
        """Let the shop refuse (`used`), be `away` or `slow` about an object; until the file that this gives is gone."""
        file = (self.objects / name).with_suffix(f".{what}")
        file.touch()
        return file

    def placed(self, *urls: str) -> str:
        """The id of an active image that lies at these URLs."""
        image_id: str = self.member.create()["id"]
        answer = self.member.change(image_id, *[add(url) for url in urls])
        assert answer.status_code == 200, answer.text
        return image_id

    def urls(self, image_id: str) -> list[str]:
        return [location["url"] for location in self.admin.show(image_id)["locations"]]

    def owed(self) -> list[str]:
        return [row["url"] for row in self.service.rows("SELECT url FROM fanlight_leases")]


OpenPlaces = Callable[..., Places]


def config_of(web: str, objects: Path, images: Path, **options: object) -> dict[str, dict[str, object]]:
    port = web.rpartition(":")[2]
    return {
        "DEFAULT": {
            "enabled_backends": "local:file, web:http, shop:shop",
            "show_multiple_locations": True,
            "show_image_direct_url": True,
            **options,
        },
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": images},
        "web": {"http_allowed_hosts": "127.0.0.1"},
        "shop": {"shop_folder": objects},
        "import_filtering_opts": {"allowed_hosts": "[127.0.0.1]", "allowed_ports": f"[80,{port}]"},
        "fanlight": {"lease_seconds": 3},
    }


@pytest.fixture
def opened(server: StartServer, web: str, tmp_path: Path) -> OpenPlaces:
    """opened(**options of [DEFAULT]) starts a service of the test's own."""

    def start(more: dict[str, dict[str, object]] | None = None, **options: object) -> Places:
        objects, path = shop.install(tmp_path)
        config = config_of(web, objects, tmp_path / "images", **options) | (more or {})
        return Places(server(config=config, environment={"PYTHONPATH": path}), objects)

    return start


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, web: str) -> Iterator[Places]:
    """One that many tests share."""
    folder = tmp_path_factory.mktemp("places")
    objects, path = shop.install(folder)
    config = config_of(web, objects, folder / "images", image_location_quota=4)
    service = Server(folder / "service", config=config, environment={"PYTHONPATH": path}).start()
    yield Places(service, objects)
    service.end()
    assert service.unexpected_tracebacks() == []


def add(url: str, place: str = "-", metadata: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"op": "add", "path": f"/locations/{place}", "value": {"url": url, "metadata": metadata or {}, **more}}


def replace(*locations: dict[str, Any]) -> dict[str, Any]:
    return {"op": "replace", "path": "/locations", "value": [*locations]}


def remove(place: object) -> dict[str, Any]:
    return {"op": "remove", "path": f"/locations/{place}"}


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


# -- what they do ----------------------------------------------------------------------------------------------------


def test_the_first_location_makes_an_image_active(places: Places, web: str) -> None:
    member = places.member
    image = member.create()
    assert image["locations"] == []
    url = f"{web}/5"
    told = done(
        member.change(image["id"], add(url, metadata={"a": ["b"]}), {**add("n"), "path": "/name", "value": "n"})
    )
    assert (told["status"], told["size"], told["virtual_size"]) == ("active", 5, None)
    assert [told[name] for name in ("checksum", "os_hash_algo", "os_hash_value")] == [None] * 3
    assert told["locations"] == [{"url": url, "metadata": {"a": ["b"], "store": "web"}}]
    assert (told["direct_url"], told["stores"], told["name"]) == (url, "web", "n")
    assert Web.asked == ["HEAD /5"]
    assert member.show(image["id"]) == told
    assert member.get(f"/v2/images/{image['id']}/file").content == b"wwwww"
    assert member.upload(image["id"], b"other").status_code == 409


def test_the_order_that_was_asked_for_stays(places: Places, web: str) -> None:
    member = places.member
    image_id = places.placed(f"{web}/5/a", f"{web}/5/b")
    for operation, wanted in (
        (add(f"{web}/5/c", "0"), "cab"),
        (add(f"{web}/5/d", "2"), "cadb"),
        (replace(*({"url": f"{web}/5/{one}", "metadata": {"is": one}} for one in "abcd")), "abcd"),
    ):
        told = done(member.change(image_id, operation))
        assert [location["url"][-1] for location in told["locations"]] == [*wanted]
        assert member.show(image_id) == told
    assert [location["metadata"]["is"] for location in told["locations"]] == [*"abcd"]
    assert done(places.admin.change(image_id, remove(1), remove("-")))["stores"] == "web,web"
    assert [url[-1] for url in places.urls(image_id)] == [*"ac"]
    assert done(member.change(image_id, add(f"{web}/5/e", "99")))["direct_url"].endswith("/a")
    assert [url[-1] for url in places.urls(image_id)] == [*"ace"]


def test_the_older_dialect(places: Places, web: str) -> None:
    image_id = places.placed(f"{web}/5")
    document = [{"add": "/locations/0", "value": {"url": f"{web}/5/x", "metadata": {}}}]
    path, content_type = f"/v2/images/{image_id}", {"Content-Type": DRAFT_4}
    assert places.member.patch(path, json=document, headers=content_type).status_code == 200
    assert places.admin.patch(path, json=[{"remove": "/locations/1"}], headers=content_type).status_code == 200
    assert places.urls(image_id) == [f"{web}/5/x"]


def test_all_at_once_on_a_queued_image(places: Places, web: str) -> None:
    image = places.member.create()
    two = ({"url": f"{web}/7", "metadata": {"n": 1}}, {"url": f"{web}/7/x", "metadata": {}, "validation_data": VALID})
    told = done(places.member.change(image["id"], replace(*two)))
    assert (told["status"], told["size"], told["checksum"]) == ("active", 7, VALID["checksum"])
    assert [location["metadata"] for location in told["locations"]] == [{"n": 1, "store": "web"}, {"store": "web"}]


def test_hashes_are_believed_once(places: Places, web: str) -> None:
    member = places.member
    image = member.create()
    told = done(member.change(image["id"], add(f"{web}/5", validation_data=VALID | {"checksum": "A" * 32})))
    assert {name: told[name] for name in VALID} == VALID
    assert told["locations"] == [{"url": f"{web}/5", "metadata": {"store": "web"}}]
    assert done(member.change(image["id"], add(f"{web}/5/x", validation_data=VALID)))["stores"] == "web,web"
    other = add(f"{web}/5/y", validation_data=VALID | {"checksum": "c" * 32})
    assert member.change(image["id"], other).status_code == 409
    late = places.placed(f"{web}/5")
    assert member.change(late, add(f"{web}/5/x", validation_data=VALID)).status_code == 409
    assert {name: member.show(image["id"])[name] for name in VALID} == VALID


@pytest.mark.parametrize(
    "wrong",
    [
        {"os_hash_algo": "md5", "os_hash_value": "b" * 32},
        {"os_hash_algo": "nothing"},
        {"os_hash_value": "b" * 64},
        {"os_hash_value": "z" * 128},
        {"checksum": "z" * 32},
    ],
)
def test_hashes_that_cannot_be(places: Places, web: str, wrong: dict[str, str]) -> None:
    image = places.member.create()
    assert places.member.change(image["id"], add(f"{web}/5", validation_data=VALID | wrong)).status_code == 409
    assert places.member.show(image["id"]) == image
    assert Web.asked == []


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "operations"),
    [
        (400, [add("WEB/5")]),
        (400, [add("WEB/5/y", "abc")]),
        (400, [add("WEB/5/y", "-1")]),
        (400, [add("WEB/5/y", "9" * 5000)]),
        (400, [add("WEB/0")]),
        (400, [add("WEB/6")]),
        (400, [add("WEB/none")]),
        (400, [add("x")]),
        (400, [add("")]),
        (400, [add("nothing://x")]),
        (400, [add("shop://none")]),
        (400, [add("WEB/5/" + "y" * 255)]),
        (400, [{"op": "add", "path": "/locations/-", "value": {"url": "WEB/5/y"}}]),
        (400, [add("WEB/5/y", validation_data={"checksum": "a" * 32})]),
        (400, [replace({"url": "WEB/5", "metadata": {}})]),
        (400, [replace(*({"url": f"WEB/5{one}", "metadata": {}} for one in ("", "/x", "/y")))]),
        (400, [replace(*[{"url": f"WEB/5{one}", "metadata": {}} for one in ("", "")])]),
        (400, [replace({"url": "WEB/5", "metadata": {}}, {"url": "WEB/5/y", "metadata": {}})]),
        (400, [remove(2)]),
        (400, [remove("x")]),
        (403, [replace()]),
        (403, [remove(0), remove(0)]),
        (409, [add("WEB/5/y"), {"op": "replace", "path": "/nothing", "value": "x"}]),
        (413, [add("WEB/5/y"), add("WEB/5/z"), add("WEB/5/a")]),
    ],
)
def test_what_is_refused_changes_nothing(places: Places, web: str, status: int, operations: list[Any]) -> None:
    image_id = places.placed(f"{web}/5", f"{web}/5/x")
    before = places.admin.show(image_id)
    wanted = json.loads(json.dumps(operations).replace("WEB", web))
    answer = places.admin.change(image_id, *wanted)
    assert answer.status_code == status, answer.text
    assert places.admin.show(image_id) == before


def test_statuses_in_which_nothing_changes(places: Places, web: str) -> None:
    queued = places.member.create()
    assert places.admin.change(queued["id"], remove(0)).status_code == 409
    bare = places.member.create(disk_format=None)
    assert places.member.change(bare["id"], add(f"{web}/5")).status_code == 400
    formats = {"op": "replace", "path": "/disk_format", "value": "iso"}
    assert places.member.change(bare["id"], add(f"{web}/5"), formats).status_code == 403
    assert done(places.member.change(bare["id"], formats, add(f"{web}/5")))["status"] == "active"
    image_id = places.placed(f"{web}/5", f"{web}/5/x")
    assert places.member.post(f"/v2/images/{image_id}/actions/deactivate").status_code == 204
    for operation in (add(f"{web}/5/y"), remove(0), replace({"url": f"{web}/5", "metadata": {}})):
        assert places.admin.change(image_id, operation).status_code == 409
    assert places.member.change(image_id, add(f"{web}/5/y")).status_code == 409
    assert places.urls(image_id) == [f"{web}/5", f"{web}/5/x"]


def test_who_may(places: Places, web: str) -> None:
    """An owner adds, an administrator removes, others do neither; who may not is told before any store is asked."""
    image_id = places.placed(f"{web}/5", f"{web}/5/x")
    places.admin.change(image_id, {"op": "replace", "path": "/visibility", "value": "public"})
    Web.asked.clear()
    other, reader = places.service.as_member("q"), places.service.as_reader("p")
    for one in (other, reader):
        assert one.change(image_id, add(f"{web}/5/y")).status_code == 403
        assert one.change(image_id, remove(0)).status_code == 403
    assert places.member.change(image_id, remove(0)).status_code == 403
    hidden = places.placed(f"{web}/5")
    Web.asked.clear()
    assert other.change(hidden, add(f"{web}/5/y")).status_code == 404
    assert Web.asked == []


def test_rules_of_its_own(opened: OpenPlaces, web: str) -> None:
    """`modify_image` does not stand for locations, nor they for it."""
    places = opened()
    image_id = places.placed(f"{web}/5", f"{web}/5/x")
    rename = {"op": "replace", "path": "/name", "value": "n"}
    places.service.write_policy({"modify_image": "!", "delete_image_location": "role:member"})
    eventually(lambda: places.member.change(image_id, rename).status_code == 403)
    assert places.member.change(image_id, remove(0), rename).status_code == 403
    assert done(places.member.change(image_id, remove(0)))["locations"][0]["url"] == f"{web}/5/x"
    places.service.write_policy({"set_image_location": "!"})
    eventually(lambda: places.member.change(image_id, rename).status_code == 200)
    assert places.member.change(image_id, add(f"{web}/5/y")).status_code == 403
    assert places.urls(image_id) == [f"{web}/5/x"]


def test_quota_of_storage(opened: OpenPlaces, web: str) -> None:
    places = opened(user_storage_quota="12")
    image_id = places.placed(f"{web}/5", f"{web}/5/x")
    assert places.member.change(image_id, add(f"{web}/5/y")).status_code == 413
    assert places.member.change(places.member.create()["id"], add(f"{web}/3")).status_code == 413
    assert places.urls(image_id) == [f"{web}/5", f"{web}/5/x"]


# -- URLs that lead elsewhere ----------------------------------------------------------------------------------------

ELSEWHERE = (
    *(
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "filesystem:///etc/passwd",
        "file:/etc/passwd",
        " file:///etc/passwd",
    ),
    *("swift+config://ref/c/o", "HTTP://127.0.0.1:PORT/5", "//127.0.0.1:PORT/5", "http://127.0.0.1:1/5"),
    *("http://169.254.169.254/5", "http://[::1]:PORT/5", "http://0x7f.1:PORT/5", "http://2130706433:PORT/5"),
    *("http://localhost:PORT/5", "http://no.such.host.invalid/5", "http://127.0.0.1:PORT@169.254.169.254/5"),
    *(
        "http://user:secret@127.0.0.1:99999/5",
        "http://127.0.0.1:x/5",
        "http:///5",
        "http://[/5",
        "http://127.0.0.1\\@x/",
    ),
)


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_url_leads_elsewhere(places: Places, web: str, url: str) -> None:
    """OSSA-2014-041, LP 2161330: nothing is connected, and one text for all says no more than that it is not taken."""
    image = places.member.create()
    wanted = url.replace("PORT", web.rpartition(":")[2])
    for operation in (add(wanted), replace({"url": wanted, "metadata": {}})):
        answer = places.admin.change(image["id"], operation)
        assert answer.status_code == 400, answer.text
        assert "secret" not in answer.text
        assert "Invalid location" in answer.text
    assert Web.asked == []
    assert places.member.show(image["id"]) == image


def test_what_is_not_there_and_what_is_closed_look_alike(opened: OpenPlaces, web: str) -> None:
    """OSSN-0078: no map of a network is drawn with the texts of refusals."""
    lists = {"allowed_ports": "[]", "disallowed_ports": "[]", "allowed_hosts": "[127.0.0.1]"}
    places = opened({"import_filtering_opts": dict(lists)})
    image = places.member.create()
    told = {
        places.member.change(image["id"], add(url)).text
        for url in (f"{web}/none", "http://127.0.0.1:1/5", f"{web.replace('http', 'https')}/5", f"{web}/0")
    }
    assert len(told) == 1, told


def test_lists_of_the_filter(opened: OpenPlaces, web: str) -> None:
    """Without a list of what is allowed, what is refused is; this machine stays closed all the same."""
    lists = {"allowed_ports": "[]", "disallowed_ports": "[99]", "disallowed_hosts": "[example.org, 10.0.0.0/8]"}
    places = opened({"import_filtering_opts": {**lists, "allowed_schemes": "[]", "disallowed_schemes": "[https]"}})
    image = places.member.create()
    for url in (
        f"{web}/5",
        "http://10.1.2.3/5",
        "http://example.org/5",
        "https://192.0.2.1/5",
        "http://192.0.2.1:99/5",
    ):
        assert "may not ask" in places.member.change(image["id"], add(url)).text
    assert Web.asked == []


# -- data that goes --------------------------------------------------------------------------------------------------


def test_data_goes_with_its_location(places: Places, web: str) -> None:
    """Also what was uploaded; the image is read from where it still lies."""
    image = places.member.create_active(b"12345")
    path = Path(image["direct_url"].removeprefix("file://"))
    assert path.read_bytes() == b"12345"
    done(places.member.change(image["id"], add(places.put("copy", b"12345"))))
    assert done(places.admin.change(image["id"], remove(0)))["stores"] == "shop"
    assert not path.exists()
    assert places.member.get(f"/v2/images/{image['id']}/file").content == b"12345"
    assert places.admin.change(image["id"], remove(0)).status_code == 403
    assert places.member.delete(f"/v2/images/{image['id']}").status_code == 204
    assert not (places.objects / "copy").exists()
    assert places.owed() == []


def test_a_store_that_refuses_changes_nothing(places: Places, web: str) -> None:
    first, second = places.put("first"), places.put("second")
    image_id = places.placed(f"{web}/5", first, second)
    before = places.admin.show(image_id)
    refusing = places.tell("second", "used")
    rename = {"op": "replace", "path": "/name", "value": "another"}
    assert places.admin.change(image_id, rename, remove(2), add(f"{web}/5/new", "0")).status_code == 409
    after = places.admin.show(image_id)
    assert {**after, "updated_at": None} == {**before, "updated_at": None}
    # What was removed before the store refused stays removed.
    assert places.admin.change(image_id, remove(1), remove(1), rename).status_code == 409
    assert places.urls(image_id) == [f"{web}/5", second]
    assert places.admin.show(image_id)["name"] is None
    assert not (places.objects / "first").exists()
    refusing.unlink()
    done(places.admin.change(image_id, remove(1)))
    assert not (places.objects / "second").exists()
    assert places.owed() == []


def test_a_delete_that_is_refused_brings_back_what_is_still_there(places: Places) -> None:
    """Also where another store could not be reached before: its data is the image's again, and stays."""
    image_id = places.placed(places.put("gone"), places.put("far"), places.put("busy"))
    far, busy = places.tell("far", "away"), places.tell("busy", "used")
    assert places.member.delete(f"/v2/images/{image_id}").status_code == 409
    assert places.urls(image_id) == ["shop://far", "shop://busy"]
    assert places.owed() == []
    far.unlink()
    assert places.member.get(f"/v2/images/{image_id}/file").content == b"shop!"
    busy.unlink()
    assert places.member.delete(f"/v2/images/{image_id}").status_code == 204
    assert not (places.objects / "far").exists()


def test_a_store_that_cannot_be_reached_is_owed(places: Places, web: str) -> None:
    url = places.put("away")
    image_id = places.placed(f"{web}/5", url)
    away = places.tell("away", "away")
    other = places.member.create()
    assert places.member.change(other["id"], add(url)).status_code == 503
    done(places.admin.change(image_id, remove(1)))
    assert places.urls(image_id) == [f"{web}/5"]
    assert places.owed() == [url]
    away.unlink()
    # What will go is no place for an image.
    if places.owed():
        assert places.member.change(other["id"], add(url)).status_code in (400, 409)
    eventually(lambda: not (places.objects / "away").exists() and not places.owed(), 20)
    assert places.member.show(other["id"]) == other


def test_what_two_images_name_stays_until_both_let_it_go(places: Places, web: str) -> None:
    url = places.put("shared")
    one, other = places.placed(url, f"{web}/5"), places.placed(url)
    done(places.member.change(other, add(url, metadata={"again": True})))
    done(places.admin.change(other, remove(0)))
    assert places.member.delete(f"/v2/images/{one}").status_code == 204
    assert places.member.get(f"/v2/images/{other}/file").content == b"shop!"
    assert places.member.delete(f"/v2/images/{other}").status_code == 204
    assert not (places.objects / "shared").exists()
    assert places.owed() == []


def test_killed_while_data_goes(opened: OpenPlaces, web: str) -> None:
    places = opened()
    image_id = places.placed(f"{web}/5", places.put("slow"))
    slow = places.tell("slow", "slow")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.service.as_admin("b").change, image_id, remove(1))
        eventually(lambda: places.owed() == ["shop://slow"])
        places.service.kill()
        assert isinstance(waiting.exception(), httpx.TransportError)
    slow.unlink()
    places.service.start()
    eventually(lambda: not (places.objects / "slow").exists() and not places.owed(), 20)
    assert [location["url"] for location in places.service.as_admin().show(image_id)["locations"]] == [f"{web}/5"]


def test_a_slow_store_keeps_nobody_else_waiting(opened: OpenPlaces) -> None:
    """More deletes wait for a store than there are threads for metadata; everything else is answered meanwhile."""
    places = opened()
    ids = [places.placed(places.put(f"slow{number}")) for number in range(12)]
    slow = [places.tell(f"slow{number}", "slow") for number in range(12)]
    clients = [places.service.as_member("p") for _ in ids]
    with ThreadPoolExecutor(len(ids)) as pool:
        waiting = [pool.submit(one.delete, f"/v2/images/{each}") for one, each in zip(clients, ids, strict=True)]
        eventually(lambda: len(places.owed()) == len(ids))
        for _ in range(3):
            assert places.member.get("/v2/images", timeout=5).json()["images"] == []
            assert places.member.create()["status"] == "queued"
            places.member.delete(f"/v2/images/{places.member.get('/v2/images').json()['images'][0]['id']}", timeout=5)
        assert not any(one.done() for one in waiting)
        for file in slow:
            file.unlink()
        assert [one.result().status_code for one in waiting] == [204] * len(ids)


# -- several at once, and what the catalogue keeps -------------------------------------------------------------------


def test_two_at_once_lose_nothing(opened: OpenPlaces, web: str) -> None:
    places = opened(image_location_quota=-1)
    image_id = places.member.create()["id"]
    clients = [places.service.as_member("p") for _ in range(12)]

    def put(number: int) -> int:
        status: int = clients[number].change(image_id, add(f"{web}/5/{number}")).status_code
        return status

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(put, range(12))) == {200}
    assert sorted(places.urls(image_id)) == sorted(f"{web}/5/{number}" for number in range(12))


def test_an_upload_and_a_location_at_once(opened: OpenPlaces, web: str) -> None:
    """One of them comes first, and the other is refused whole."""
    places = opened()
    other: Client = places.service.as_member("p")
    for _ in range(10):
        image_id = places.member.create()["id"]
        with ThreadPoolExecutor(2) as pool:
            up = pool.submit(places.member.upload, image_id, b"12345")
            put = pool.submit(other.change, image_id, add(f"{web}/5"))
            found = (up.result().status_code, put.result().status_code)
        urls = places.urls(image_id)
        assert found in ((204, 409), (409, 200), (204, 200)), found
        wanted = {(204, 409): ["file"], (409, 200): ["http"], (204, 200): ["file", "http"]}[found]
        assert [url.partition(":")[0] for url in urls] == wanted
        data = {"file": b"12345", "http": b"wwwww"}[wanted[0]]
        assert places.member.get(f"/v2/images/{image_id}/file").content == data
    assert places.owed() == []


def test_encrypted_at_rest(opened: OpenPlaces, web: str) -> None:
    places = opened(metadata_encryption_key="0123456789abcdef")
    image_id = places.placed(f"{web}/5", places.put("sealed"))
    assert done(places.member.change(image_id, add(f"{web}/5/x", "0")))["direct_url"] == f"{web}/5/x"
    assert places.member.change(image_id, add(f"{web}/5")).status_code == 400
    kept = [row["value"] for row in places.service.rows("SELECT value FROM image_locations WHERE deleted = 0")]
    assert len(kept) == 3
    assert not any("://" in value for value in kept)
    done(
        places.member.change(image_id, replace(*({"url": url, "metadata": {}} for url in places.urls(image_id)[::-1])))
    )
    assert places.urls(image_id) == ["shop://sealed", f"{web}/5", f"{web}/5/x"]
    done(places.admin.change(image_id, remove(0)))
    assert not (places.objects / "sealed").exists()
    assert places.member.get(f"/v2/images/{image_id}/file").content == b"wwwww"


def test_a_store_without_a_name_is_not_told(server: StartServer, web: str, tmp_path: Path) -> None:
    """In the classic form clients know no ids."""
    classic: dict[str, object] = {"stores": "file,http", "default_store": "file", "http_allowed_hosts": "127.0.0.1"}
    config = {**config_of(web, tmp_path, tmp_path), "glance_store": classic}
    config["glance_store"] = {**classic, "filesystem_store_datadir": tmp_path / "images"}
    config["DEFAULT"] = {"show_multiple_locations": True}
    for group in ("local", "web", "shop"):
        del config[group]
    member = server(config=config).as_member("p")
    image = member.create_active(b"12345")
    told = done(member.change(image["id"], add(f"{web}/5", metadata={"a": "b"})))
    assert [location["metadata"] for location in told["locations"]] == [{}, {"a": "b"}]
    assert "stores" not in told
    assert member.show(image["id"]) == told


def test_time_of_one_that_never_answers(places: Places) -> None:
    """Nothing but the store itself waits; see also the time limits of each store."""
    start = time.monotonic()
    assert places.member.change(places.member.create()["id"], add("http://192.0.2.1:81/5")).status_code == 400
    assert time.monotonic() - start < 5
