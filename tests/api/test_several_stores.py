"""Stores as clients meet them: their lists by type, who may read them, and stores that take nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.servers import Server
from tests.conftest import StartServer

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("several")
    (folder / "accounts").write_text("[one]\nauth_address = http://127.0.0.1:9/v3\nuser = u:v\nkey = a-secret-key\n")
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "fast:file, wide:file, web:http, lake:s3, sea:swift, odd:swift"},
        "glance_store": {"default_backend": "fast"},
        "fast": {"filesystem_store_datadir": folder / "fast", "weight": 7, "store_description": "quick & small"},
        "wide": {
            "filesystem_store_datadirs": [f"{folder}/a:10", f"{folder}/b"],
            "filesystem_store_chunk_size": 1048576,
            "filesystem_thin_provisioning": True,
        },
        "web": {"https_insecure": False},
        # Nothing listens there: what is told of a store must not wait for it.
        "lake": {
            "s3_store_host": "http://127.0.0.1:9",
            "s3_store_access_key": "an-access-key",
            "s3_store_secret_key": "a-secret-key",
            "s3_store_bucket": "b",
        },
        "sea": {
            "swift_store_auth_address": "http://127.0.0.1:9/v3",
            "swift_store_user": "service:images",
            "swift_store_key": "a-secret-key",
            "swift_store_container": "pool",
            "swift_store_large_object_size": 1024,
        },
        # In its owners' accounts and with accounts of its own at once: no client could use that.
        "odd": {"swift_store_multi_tenant": True, "swift_store_config_file": folder / "accounts"},
    }
    one = Server(folder, config=config).start()
    yield one
    one.end()
    assert one.unexpected_tracebacks() == []


def test_stores(several: Server) -> None:
    """Everybody may know them. The flags are texts, and absent when they would be false."""
    assert several.as_reader("p").get("/v2/info/stores").json() == {
        "stores": [
            {"id": "fast", "description": "quick & small", "default": "true"},
            {"id": "wide"},
            {"id": "web", "read-only": "true"},
            {"id": "lake"},
            {"id": "sea"},
        ]
    }


def test_stores_in_detail(several: Server) -> None:
    """What each type shows beside that; to administrators only, and no secret."""
    folder = several.folder
    answer = several.as_admin().get("/v2/info/stores/detail")
    assert answer.status_code == 200
    stores = {store.pop("id"): store for store in answer.json()["stores"]}
    assert list(stores) == ["fast", "wide", "web", "lake", "sea"]
    assert stores["fast"] == {
        "description": "quick & small",
        "default": "true",
        "type": "file",
        "weight": 7,
        "properties": {"data_dir": f"{folder}/fast", "chunk_size": 65536, "thin_provisioning": False},
    }
    assert stores["wide"]["properties"] == {
        "data_dir": f"{folder}/a:10,{folder}/b",
        "chunk_size": 1048576,
        "thin_provisioning": True,
    }
    assert stores["web"] == {"read-only": "true", "type": "http", "weight": 0, "properties": {}}
    assert (stores["lake"]["type"], stores["lake"]["weight"]) == ("s3", 0)
    assert stores["lake"]["properties"] == {
        "s3_store_large_object_size": 100,
        "s3_store_large_object_chunk_size": 10,
        "s3_store_thread_pools": 10,
    }
    assert stores["sea"]["properties"] == {
        "container": "pool",
        "large_object_size": 1024,
        "large_object_chunk_size": 200,
    }
    assert "secret-key" not in answer.text
    assert "access-key" not in answer.text


def test_the_detail_is_for_administrators(several: Server) -> None:
    assert several.as_member("p").get("/v2/info/stores/detail").status_code == 403
    assert several.client().get("/v2/info/stores/detail").status_code == 401


def test_without_names_there_are_no_stores(server: StartServer, tmp_path: Path) -> None:
    """404 comes before 403: that there is only one store is no secret."""
    classic = {"glance_store": {"stores": "file", "filesystem_store_datadir": tmp_path / "images"}}
    one = server(config=classic)
    for caller in (one.as_member("p"), one.as_admin()):
        for path in ("/v2/info/stores", "/v2/info/stores/detail"):
            assert caller.get(path).status_code == 404
    assert "openstack-image-store-ids" not in one.as_member("p").post("/v2/images", json={}).headers


def test_a_new_image_is_told_where_it_may_go(several: Server) -> None:
    """All but the service's own; Glance does not leave out the odd one here."""
    answer = several.as_member("p").post("/v2/images", json={})
    assert answer.headers["openstack-image-store-ids"] == "fast,wide,web,lake,sea,odd"


# -- adding is disabled ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_nothing_goes_into_a_store_that_only_reads(several: Server, size: int) -> None:
    """410; the image waits for its data as before, and takes it elsewhere."""
    member = several.as_member("p")
    image = member.create()
    path = f"/v2/images/{image['id']}/file"
    for _ in range(2):
        answer = member.put(path, content=b"x" * size, headers={**OCTETS, "X-Image-Meta-Store": "web"})
        assert (answer.status_code, "web" in answer.text) == (410, True)
        assert member.show(image["id"]) == image
    assert several.rows("SELECT token FROM fanlight_leases WHERE image_id = :id", id=image["id"]) == []
    assert member.upload(image["id"], b"x" * size).status_code == 204


def test_a_default_store_that_only_reads(server: StartServer) -> None:
    """Nobody named it, so nothing can be uploaded at all; the answer is the same."""
    one = server(config={"glance_store": {"stores": "http", "default_store": "http"}})
    member = one.as_member("p")
    image = member.create()
    assert member.upload(image["id"], b"data").status_code == 410
    assert member.show(image["id"])["status"] == "queued"


# -- rows from before stores had ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metadata", ["{}", "", '{"store": "gone"}', '{"backend": "gone", "a": "b"}'])
def test_a_row_without_its_store_is_told_to_be_in_it(several: Server, metadata: str) -> None:
    """By its URL: a Glance with one store wrote none, and a store may have another name today."""
    member = several.as_member("old")
    image = member.create()
    answer = member.put(
        f"/v2/images/{image['id']}/file", content=b"x", headers={**OCTETS, "X-Image-Meta-Store": "wide"}
    )
    assert answer.status_code == 204
    changed = "UPDATE image_locations SET meta_data = :meta WHERE image_id = :id"
    several.rows(changed, id=image["id"], meta=metadata)
    assert member.show(image["id"])["stores"] == "wide"
    listed = member.get("/v2/images").json()["images"]
    assert [one["stores"] for one in listed if one["id"] == image["id"]] == ["wide"]
    several.rows("UPDATE image_locations SET value = 'rbd://a/b/c/d' WHERE image_id = :id", id=image["id"])
    assert member.show(image["id"]).get("stores") == ("gone" if "gone" in metadata else None)
    assert member.delete(f"/v2/images/{image['id']}").status_code == 204


def test_credentials_of_old_rows_are_not_shown(server: StartServer, tmp_path: Path) -> None:
    """S3 URLs of old releases carry keys, which may hold slashes."""
    lake: dict[str, object] = {
        "s3_store_host": "http://127.0.0.1:9",
        "s3_store_access_key": "an-access-key",
        "s3_store_secret_key": "a-secret-key",
        "s3_store_bucket": "b",
    }
    shows = {"show_multiple_locations": True, "show_image_direct_url": True}
    config: dict[str, dict[str, object]] = {
        "DEFAULT": {"enabled_backends": "local:file, lake:s3", **shows},
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": tmp_path / "images"},
        "lake": lake,
    }
    one = server(config=config)
    member = one.as_member("p")
    image = member.create_active(b"x")
    for metadata in ("{}", '{"store": "lake"}'):
        one.rows(
            "UPDATE image_locations SET value = 's3://KEY:SEC/RET@127.0.0.1:9/b/k', meta_data = :meta",
            meta=metadata,
        )
        shown = member.show(image["id"])
        assert (shown["direct_url"], shown["stores"]) == ("s3://127.0.0.1:9/b/k", "lake")
        assert shown["locations"] == [{"url": "s3://127.0.0.1:9/b/k", "metadata": {"store": "lake"}}]
        renamed = {"url": "s3://127.0.0.1:9/b/k", "metadata": {"a": "b"}}
        answer = member.change(image["id"], {"op": "replace", "path": "/locations", "value": [renamed]})
        assert answer.json()["locations"] == [{"url": "s3://127.0.0.1:9/b/k", "metadata": {"a": "b", "store": "lake"}}]
        assert "RET" not in answer.text
    assert "RET" not in one.log_text()
