"""The VMware store: the suite, against a simulated vCenter (docs/stores/vmware.md says what that is worth)."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fanlight.stores import vcenter, vmware
from tests.bed.databases import needed
from tests.bed.vsphere import PASSWORD, USER, Simulator, free_address
from tests.stores import disks
from tests.stores.conformance import Backend, Conformance
from tests.stores.leaving import Leaving

pytestmark = pytest.mark.services
MIB = 1 << 20


class Datastores(Backend):
    """A folder of its own in both datastores of the simulator that everybody uses."""

    type = "vmware"
    secrets = (PASSWORD, "open%26%3Csesame%3E", "open&amp;&lt;sesame&gt;", "vmware_soap_session")
    malformed = (
        "vsphere://host/folder/d/x",
        "vsphere://host/folder/d/x?dsName=a",
        "vsphere://host/folder/d/x?dcPath=a",
        "vsphere://host/folder/d/x?dsName=&dcPath=a",
        "vsphere://host/folder/d/x?dsName=a&dcPath=b&dsName=c",
        "vsphere://host/folder/d/x?dsName=a&dcPath=b&c=d",
        "vsphere://host/folder/d/?dsName=a&dcPath=b",
        "vsphere://host/folder/x?dsName=a&dcPath=b",
        "vsphere://host/folder/d/../x?dsName=a&dcPath=b",
        "vsphere://host/folder/d/%2e%2e/x?dsName=a&dcPath=b",
        "vsphere://host/folder//d/x?dsName=a&dcPath=b",
        "vsphere://host/folder/d/x%0a?dsName=a&dcPath=b",
        "vsphere://host/elsewhere/d/x?dsName=a&dcPath=b",
        "vsphere://user:pw@host/folder/d/x?dsName=a&dcPath=b",
        "vsphere://host:443/folder/d/x?dsName=a&dcPath=b",
        "vsphere:///folder/d/x?dsName=a&dcPath=b",
        "vsphere://[::1/folder/d/x?dsName=a&dcPath=b",
        "vsphere://host/folder/d/a b?dsName=a&dcPath=b",
        "https://host/folder/d/x?dsName=a&dcPath=b",
    )

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._patch = stack.enter_context(pytest.MonkeyPatch.context())
        self._files = Path(needed("FANLIGHT_TEST_VSPHERE_FOLDER")) / "run"
        self._images = f"suite/{uuid.uuid4().hex}"

    def options(self) -> Mapping[str, Any]:
        return {
            "vmware_server_host": needed("FANLIGHT_TEST_VSPHERE"),
            "vmware_server_username": USER,
            "vmware_server_password": PASSWORD,
            "vmware_datastores": ["/DC0:LocalDS_0:100", "/DC0:LocalDS_1:50"],
            "vmware_store_image_dir": f"/{self._images}",
            "vmware_ca_file": needed("FANLIGHT_TEST_VSPHERE_CA"),
        }

    def leftovers(self) -> Sequence[str]:
        return sorted(map(str, self._files.glob(f"govcsim-DC0-LocalDS_*/{self._images}/*")))

    def absent(self) -> str:
        host = needed("FANLIGHT_TEST_VSPHERE")
        return f"vsphere://{host}/folder/{self._images}/gone?dsName=LocalDS_0&dcPath=%2FDC0"

    def spellings(self, url: str) -> Sequence[str]:
        place, _, query = url.partition("?")
        first, second = query.split("&")
        return (f"{place}?{second}&{first}", url.replace("%2F", "/"), url.replace("vsphere://", "VSPHERE://"))

    def broken(self, fault: str) -> Mapping[str, Any] | str:
        if fault in ("down", "slow"):
            self._patch.setattr(vcenter, "SECONDS", 2.0)
            self._patch.setattr(vmware, "CONNECT_SECONDS", 2.0)
            self._patch.setattr(vmware, "READ_SECONDS", 2.0)
            host = free_address()
            if fault == "slow":
                self._stack.enter_context(socket.create_server((host, 443), backlog=64))
            return {**self.options(), "vmware_server_host": host}
        if fault == "denied":
            return {**self.options(), "vmware_server_password": "another"}
        small = self._folder / "small"
        self._stack.enter_context(disks.small(small, 4 * MIB))
        simulator = self._stack.enter_context(Simulator(self._folder / "full", small))
        return {**self.options(), "vmware_server_host": simulator.host, "vmware_ca_file": str(simulator.ca)}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        yield Datastores(tmp_path, stack)


class TestVmware(Leaving, Conformance):
    removal = "_vcenter.delete"
    leaves = False
