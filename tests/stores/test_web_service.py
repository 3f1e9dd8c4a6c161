"""The HTTP and VMware stores under a whole service, as an operator configures them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bed.databases import needed
from tests.bed.vsphere import PASSWORD, USER
from tests.conftest import StartServer
from tests.stores.place import pattern

pytestmark = pytest.mark.services
MOVE = "UPDATE image_locations SET value = :value, meta_data = :meta"


def config(**web: Any) -> dict[str, dict[str, object]]:
    return {
        "DEFAULT": {"enabled_backends": "dc:vmware, web:http"},
        "glance_store": {"default_backend": "dc"},
        "dc": {
            "vmware_server_host": needed("FANLIGHT_TEST_VSPHERE"),
            "vmware_server_username": USER,
            "vmware_server_password": PASSWORD,
            "vmware_datastores": ["/DC0:LocalDS_0:100", "/DC0:LocalDS_1:50"],
            "vmware_ca_file": needed("FANLIGHT_TEST_VSPHERE_CA"),
        },
        "web": {"https_ca_certificates_file": needed("FANLIGHT_TEST_HTTPFILES_CA"), **web},
    }


def test_vmware_among_several_stores(server: StartServer) -> None:
    """Which Glance cannot: it looks for the type where the scheme is."""
    one = server(config=config())
    member = one.as_member("p")
    data = pattern(5_000_000)
    image = member.create_active(data)
    assert image["stores"] == "dc"
    url = f"/v2/images/{image['id']}/file"
    assert member.get(url).content == data
    part = member.get(url, headers={"Range": "bytes=1000000-4000000"})
    assert part.status_code == 206
    assert part.content == data[1_000_000:4_000_001]
    assert member.delete(f"/v2/images/{image['id']}").status_code == 204
    assert PASSWORD not in one.log_text()


def test_locations_on_the_web(server: StartServer) -> None:
    """The location is put into the database: adding it over the API is another matter."""
    one = server(config=config(http_allowed_hosts="127.0.0.1", http_read_timeout="5"))
    member = one.as_member("p")
    image = member.create_active(b"hello world")
    url = f"/v2/images/{image['id']}/file"

    def place(location: str) -> None:
        one.rows(
            "UPDATE image_locations SET value = :value, meta_data = :meta", value=location, meta='{"store": "web"}'
        )

    good, odd = needed("FANLIGHT_TEST_HTTPFILES"), needed("FANLIGHT_TEST_HTTPFILES_ODD")
    place(good.replace("http://", "http://user:p%40ss@") + "/auth/small")
    assert member.get(url).content == b"hello world"
    part = member.get(url, headers={"Range": "bytes=6-"})
    assert (part.status_code, part.content) == (206, b"world")
    for location, status in (
        ("http://127.0.0.2/small", 503),
        (f"{odd}/to/302?http://169.254.169.254/latest/meta-data/", 503),
        (f"{odd}/status/500", 503),
        (f"{odd}/mute", 503),
        (f"{good}/files/nothing", 204),
    ):
        place(location)
        answer = member.get(url)
        assert answer.status_code == status, location
        assert b"meta-data" not in answer.content
    assert "p%40ss" not in one.log_text()
    assert "p@ss" not in one.log_text()


def test_a_service_alone_reads_nothing_from_its_own_machine(server: StartServer) -> None:
    one = server(config=config())
    member = one.as_member("p")
    image = member.create_active(b"hello world")
    location = needed("FANLIGHT_TEST_HTTPFILES") + "/files/small"
    one.rows(MOVE, value=location, meta='{"store": "web"}')
    assert member.get(f"/v2/images/{image['id']}/file").status_code == 503
