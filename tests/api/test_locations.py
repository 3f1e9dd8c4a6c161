"""Locations that clients change by PATCH (Image API V2, "Update an image"): what they may do, and what not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import SettingsError
from fanlight.operations.filtering import UrlFilter
from fanlight.settings import FilteringSettings
from tests.api.placing import OpenPlaces, Places, add, config_of, done, remove, replace
from tests.bed.web import Web
from tests.conftest import StartServer
from tests.edge.raw import eventually

VALID = {"checksum": "a" * 32, "os_hash_algo": "sha512", "os_hash_value": "b" * 128}
DRAFT_4 = "application/openstack-images-v2.0-json-patch"


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    Web.asked.clear()


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


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "x" * 65_000},
        {"ü" * 40_000: 1},
        {"a": "\0"},
        {"a": "\U0001f600"},
        {"a": [{"b": 10**40}] * 3},
        {"": None, "store": {"store": [True]}},
        {"quota": 2**63, "real": 1e300},
    ],
)
def test_metadata_of_any_kind_is_kept_or_refused(places: Places, web: str, metadata: dict[str, Any]) -> None:
    image_id = places.placed(f"{web}/5")
    answer = places.member.change(image_id, add(f"{web}/5/x", metadata=metadata))
    assert answer.status_code in (200, 400), answer.text
    found = places.member.show(image_id)["locations"]
    if answer.status_code == 200:
        kept = {name: value for name, value in metadata.items() if name != "store"}
        assert found[1]["metadata"] == {**kept, "store": "web"}
    else:
        assert [one["url"] for one in found] == [f"{web}/5"]
    rewritten = {"url": f"{web}/5", "metadata": metadata}
    assert places.member.change(places.placed(f"{web}/5"), replace(rewritten)).status_code == answer.status_code


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


@pytest.mark.parametrize("allowed", [(), ("images.example",)])
@pytest.mark.parametrize("host", ["10.0.0.1/8", "10.0.0.0/99", "a/b"])
def test_a_host_that_is_none_stops_the_start(host: str, allowed: tuple[str, ...]) -> None:
    """Also where the names beside it would not count."""
    with pytest.raises(SettingsError, match=r"import_filtering_opts.*no host name"):
        UrlFilter(FilteringSettings(allowed_hosts=allowed, disallowed_hosts=("good.example", host)))


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
