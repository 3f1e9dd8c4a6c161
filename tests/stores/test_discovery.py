"""What /v2/info/stores says is what the stores are; of every type, and of those that are away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanlight.http.v2 import discovery
from fanlight.settings.drivers import DRIVER_OPTIONS
from fanlight.settings.load import load
from fanlight.stores.driver import Store, Traits
from fanlight.stores.finding import BUILT_IN
from fanlight.stores.memory import Memory
from tests.conftest import StartServer

PROPERTIES = {
    "file": {"data_dir", "chunk_size", "thin_provisioning"},
    "rbd": {"chunk_size", "pool", "thin_provisioning"},
    "cinder": {"volume_type", "use_multipath"},
    "swift": {"container", "large_object_size", "large_object_chunk_size"},
    "s3": {"s3_store_large_object_size", "s3_store_large_object_chunk_size", "s3_store_thread_pools"},
}
"""As Glance 33 tells them; nothing of other types. RBD's fsid comes when the cluster has been reached."""


class ReadOnly(Memory):
    traits = Traits(add=False, delete=False)

    def details(self) -> dict[str, Any]:
        return {"shelves": 3}


def settings_of(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "glance-api.conf"
    file.write_text(text)
    return load([str(file)])


@pytest.mark.parametrize("kind", sorted(DRIVER_OPTIONS))
def test_properties(tmp_path: Path, kind: str) -> None:
    found = settings_of(
        tmp_path,
        f"[DEFAULT]\nenabled_backends = a:{kind}\n[glance_store]\ndefault_backend = a\n[a]\nweight = 7\n"
        "store_description = what it is\n",
    )
    (told,) = discovery.stores_detail(found)["stores"]
    properties = told.pop("properties")
    read_only = {"read-only": "true"} if kind == "http" else {}
    assert told == {"id": "a", "default": "true", "description": "what it is", "type": kind, "weight": 7, **read_only}
    assert set(properties) == PROPERTIES.get(kind, set())
    options = {option.dest: option.default for option in DRIVER_OPTIONS[kind]}
    assert all(value in options.values() for value in properties.values())


def test_no_secrets(tmp_path: Path) -> None:
    secrets = {kind: [one for one in options if one.secret] for kind, options in DRIVER_OPTIONS.items()}
    text = "[DEFAULT]\nenabled_backends = " + ", ".join(f"{kind}:{kind}" for kind in secrets)
    text += "\n[glance_store]\ndefault_backend = file\n"
    for kind, options in secrets.items():
        text += f"[{kind}]\n" + "".join(f"{one.dest} = http:s3cret\n" for one in options)
    assert text.count("s3cret") > 5
    assert "s3cret" not in str(discovery.stores_detail(settings_of(tmp_path, text)))


def test_what_stores_say_of_themselves(tmp_path: Path) -> None:
    class Told:
        """Only what discovery asks for."""

        def get(self, store_id: str) -> Store:
            return ReadOnly(store_id, {})

    found = settings_of(
        tmp_path,
        "[DEFAULT]\nenabled_backends = a:file\n[glance_store]\ndefault_backend = a\n[a]\n"
        "filesystem_store_datadirs = /x:1\nfilesystem_store_datadirs = /y\n",
    )
    (told,) = discovery.stores_detail(found, Told())["stores"]  # type: ignore[arg-type]  # a small stand-in
    assert told["read-only"] == "true"
    assert told["properties"] == {"data_dir": "/x:1,/y", "chunk_size": 65536, "thin_provisioning": False, "shelves": 3}


def test_swift_with_two_kinds_of_accounts_is_not_shown(tmp_path: Path) -> None:
    found = settings_of(
        tmp_path,
        "[DEFAULT]\nenabled_backends = a:file, b:swift\n[glance_store]\ndefault_backend = a\n[b]\n"
        "swift_store_multi_tenant = true\nswift_store_config_file = /etc/x.conf\n",
    )
    assert [each["id"] for each in discovery.stores_info(found)["stores"]] == ["a"]


def test_over_http(server: StartServer, tmp_path: Path) -> None:
    config = {
        "DEFAULT": {"enabled_backends": "one:file, web:http"},
        "glance_store": {"default_backend": "one"},
        "one": {"filesystem_store_datadir": tmp_path / "one", "weight": 3},
    }
    one = server(config=config)
    member, admin = one.as_member("p"), one.as_admin()
    assert member.get("/v2/info/stores").json() == {
        "stores": [{"id": "one", "default": "true"}, {"id": "web", "read-only": "true"}]
    }
    assert member.get("/v2/info/stores/detail").status_code == 403
    first, second = admin.get("/v2/info/stores/detail").json()["stores"]
    assert first["properties"]["data_dir"] == str(tmp_path / "one")
    assert (first["weight"], second["type"], second["properties"]) == (3, "http", {})


def test_the_memory_is_for_tests() -> None:
    assert set(BUILT_IN) - set(DRIVER_OPTIONS) == {"memory"}
