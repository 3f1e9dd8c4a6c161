"""Data that goes when its location does, several who change locations at once, and what the catalogue keeps."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.api.placing import OpenPlaces, Places, add, done, remove, replace
from tests.bed.callers import Client
from tests.bed.databases import Database
from tests.edge.raw import eventually

# A server for nearly each test.
pytestmark = pytest.mark.slow

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


def test_what_a_refusal_brings_back_is_not_removed_meanwhile(places: Places) -> None:
    """A store that takes longer to refuse than a lease lasts; the data of another was owed before."""
    image_id = places.placed(places.put("owed"), places.put("late"))
    owed, slow, late = places.tell("owed", "away"), places.tell("late", "slow"), places.tell("late", "used")
    other = places.service.as_member("p")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.delete, f"/v2/images/{image_id}")
        eventually(lambda: len(places.owed()) == 2)
        owed.unlink()
        time.sleep(5)
        slow.unlink()
        assert waiting.result().status_code == 409
    assert places.urls(image_id) == ["shop://owed", "shop://late"]
    assert (places.objects / "owed").exists()
    late.unlink()
    assert places.member.delete(f"/v2/images/{image_id}").status_code == 204
    assert places.owed() == []


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


def test_downloads_from_a_slow_store_keep_nobody_else_waiting(opened: OpenPlaces, web: str) -> None:
    """More of them than a store has threads."""
    places = opened()
    image_id, elsewhere = places.placed(places.put("slow")), places.placed(f"{web}/5")
    slow = places.tell("slow", "slow")
    clients = [places.service.as_member("p") for _ in range(40)]
    with ThreadPoolExecutor(len(clients)) as pool:
        waiting = [pool.submit(one.get, f"/v2/images/{image_id}/file") for one in clients]
        time.sleep(0.5)
        assert len(places.member.get(f"/v2/images/{elsewhere}/file", timeout=5).content) == 5
        assert len(places.member.get("/v2/images", timeout=5).json()["images"]) == 2
        assert not any(one.done() for one in waiting)
        slow.unlink()
        assert {one.result().content for one in waiting} == {b"shop!"}


# -- several at once, and what the catalogue keeps -------------------------------------------------------------------


def test_two_at_once_lose_nothing(opened: OpenPlaces, web: str, database: Database) -> None:
    places = opened(database=database.url, image_location_quota=-1)
    image_id = places.member.create()["id"]
    clients = [places.service.as_member("p") for _ in range(12)]

    def put(number: int) -> int:
        status: int = clients[number].change(image_id, add(f"{web}/5/{number}")).status_code
        return status

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(put, range(12))) == {200}
    assert sorted(places.urls(image_id)) == sorted(f"{web}/5/{number}" for number in range(12))


def test_an_upload_and_a_location_at_once(opened: OpenPlaces, web: str, database: Database) -> None:
    """One of them comes first, and the other is refused whole."""
    places = opened(database=database.url)
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
