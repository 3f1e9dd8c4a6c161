"""Images that want more than to be stored: refused while they stream, and nothing of them stays.

OSSA-2015-014 (qcow2 backing file), OSSA-2023-002 (VMDK descriptors that name files of the host), OSSA-2024-001
(qcow2 data file, also under a declared format that it is not), OSSA-2024-003 and OSSA-2026-002 (the declared format
is held to).
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.callers import Client
from tests.bed.servers import Server
from tests.conftest import StartServer

MIB = 1 << 20
REFUSED = 415


def qcow2(
    *, backing: bytes = b"", incompatible: int = 0, version: int = 3, extension: bytes = b"", size: int = MIB
) -> bytes:
    """A small qcow2 of `size` bytes virtual size with the header as wanted."""
    header_length = 104
    after = extension + struct.pack(">II", 0, 0)
    offset = header_length + len(after) if backing else 0
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", version, offset, len(backing), 16, size, 0, 1, 196_608, 65_536, 1, 0, 0, incompatible, 0, 0),
        *(4, header_length),
    )
    return (header + after + backing).ljust(4 * 65_536, b"\0")


def data_file_extension(name: bytes) -> bytes:
    return struct.pack(">II", 0x44415441, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0")


def vmdk(kind: str, *extents: str, sectors: int = 2048) -> bytes:
    """A sparse VMDK whose embedded descriptor says what is wanted."""
    descriptor = "\n".join(
        [
            "# Disk DescriptorFile",
            "version=1",
            "CID=12345678",
            "parentCID=ffffffff",
            f'createType="{kind}"',
            *extents,
            "",
        ]
    ).encode()
    header = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 3, 3, sectors, 128, 1, 20, 512, 21, 26, 128).ljust(512, b"\0")
    return (header + descriptor.ljust(20 * 512, b"\0")).ljust(MIB, b"\0")


def text_vmdk(kind: str, *extents: str) -> bytes:
    """A descriptor alone, as monolithicFlat and its kin have it."""
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        "CID=12345678",
        "parentCID=ffffffff",
        f'createType="{kind}"',
        *extents,
    ]
    return ("\n".join(lines) + "\n").encode().ljust(4096, b"\0")


def qed(*, backing: bytes = b"/etc/passwd") -> bytes:
    header = struct.pack("<4sIIIQQQQQII", b"QED\0", 65_536, 4, 1, 1, 0, 0, 65_536, MIB, 64, len(backing))
    return (header + backing).ljust(2 * 65_536, b"\0")


def luks() -> bytes:
    head = b"LUKS\xba\xbe" + struct.pack(">H", 1) + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0")
    return (head + b"sha256".ljust(32, b"\0") + struct.pack(">II", 4096, 64)).ljust(MIB, b"\0")


FLAT = 'RW 2048 FLAT "/etc/passwd" 0'
SPARSE = 'RW 2048 SPARSE "/etc/shadow"'
HOSTILE: dict[str, tuple[str, bytes]] = {
    "OSSA-2015-014 qcow2 with a backing file": ("qcow2", qcow2(backing=b"/etc/passwd")),
    "OSSA-2015-014 the same in version 2": ("qcow2", qcow2(backing=b"/etc/passwd", version=2)),
    "OSSA-2015-014 a json: backing file": (
        "qcow2",
        qcow2(backing=b'json:{"driver": "raw", "file.filename": "/etc/passwd"}'),
    ),
    "OSSA-2015-014 a backing file on the network": ("qcow2", qcow2(backing=b"nbd://127.0.0.1:1/x")),
    "OSSA-2024-001 qcow2 with a data file": (
        "qcow2",
        qcow2(incompatible=4, extension=data_file_extension(b"/etc/passwd")),
    ),
    "OSSA-2024-001 the bit without the name": ("qcow2", qcow2(incompatible=4)),
    "OSSA-2024-001 unknown features": ("qcow2", qcow2(incompatible=1 << 40)),
    "OSSA-2024-001 a data file declared raw": (
        "raw",
        qcow2(incompatible=4, extension=data_file_extension(b"/etc/passwd")),
    ),
    "OSSA-2024-001 a backing file declared raw": ("raw", qcow2(backing=b"/etc/passwd")),
    "OSSA-2024-001 a backing file declared vmdk": ("vmdk", qcow2(backing=b"/etc/passwd")),
    "OSSA-2024-001 a backing file declared iso": ("iso", qcow2(backing=b"/etc/passwd")),
    "OSSA-2024-001 a backing file declared vhd": ("vhd", qcow2(backing=b"/etc/passwd")),
    "OSSA-2024-001 a backing file declared ami": ("ami", qcow2(backing=b"/etc/passwd")),
    "OSSA-2024-003 qcow2 declared vmdk": ("vmdk", qcow2()),
    "OSSA-2024-003 raw declared qcow2": ("qcow2", b"\x5a" * MIB),
    "OSSA-2024-003 raw declared vmdk": ("vmdk", b"\x5a" * MIB),
    "OSSA-2024-003 nothing declared qcow2": ("qcow2", b""),
    "OSSA-2024-003 a cut qcow2 header": ("qcow2", qcow2()[:40]),
    "OSSA-2023-002 monolithicFlat in a sparse file": ("vmdk", vmdk("monolithicFlat", FLAT)),
    "OSSA-2023-002 twoGbMaxExtentFlat": ("vmdk", vmdk("twoGbMaxExtentFlat", FLAT)),
    "OSSA-2023-002 fullDevice": ("vmdk", vmdk("fullDevice", 'RW 2048 FLAT "/dev/sda" 0')),
    "OSSA-2023-002 partitionedDevice": ("vmdk", vmdk("partitionedDevice", 'RW 2048 FLAT "/dev/sda" 0')),
    "OSSA-2023-002 vmfs": ("vmdk", vmdk("vmfs", 'RW 2048 VMFS "/etc/passwd"')),
    "OSSA-2023-002 custom": ("vmdk", vmdk("custom", FLAT)),
    "OSSA-2023-002 sparse that names a path": ("vmdk", vmdk("monolithicSparse", SPARSE)),
    "OSSA-2023-002 sparse with a flat extent": ("vmdk", vmdk("monolithicSparse", FLAT)),
    "OSSA-2023-002 a second extent": ("vmdk", vmdk("monolithicSparse", 'RW 2048 SPARSE "a.vmdk"', FLAT)),
    "OSSA-2023-002 a second type": ("vmdk", vmdk("monolithicSparse", 'createType="monolithicFlat"', FLAT)),
    "OSSA-2023-002 a descriptor alone": ("vmdk", text_vmdk("monolithicFlat", FLAT)),
    "OSSA-2023-002 declared raw": ("raw", vmdk("monolithicFlat", FLAT)),
    "OSSA-2023-002 declared qcow2": ("qcow2", vmdk("monolithicFlat", FLAT)),
    "qed, whose header is never safe": ("qed", qed()),
    "qed declared raw": ("raw", qed()),
    "qed declared qcow2": ("qcow2", qed()),
    "luks declared qcow2": ("qcow2", luks()),
    "luks declared vmdk": ("vmdk", luks()),
}
VAST: dict[str, tuple[str, bytes]] = {
    "a virtual size that no disk has": ("qcow2", qcow2(size=2**64 - 1)),
    "the smallest of those": ("qcow2", qcow2(size=2**63)),
    "the same in sectors": ("vmdk", vmdk("monolithicSparse", 'RW 2048 SPARSE "disk.vmdk"', sectors=2**55)),
}
"""What they claim does not fit into the catalogue."""
ACCEPTED: dict[str, tuple[str, bytes]] = {
    "a plain qcow2": ("qcow2", qcow2()),
    "a plain raw disk": ("raw", b"\x5a" * MIB),
    "a stream-optimised vmdk": ("vmdk", vmdk("streamOptimized", 'RW 2048 SPARSE "disk.vmdk"')),
    "a sparse vmdk": ("vmdk", vmdk("monolithicSparse", 'RW 2048 SPARSE "disk.vmdk"')),
}


def drip(data: bytes) -> Iterator[bytes]:
    """In pieces that cut every header."""
    for start in range(0, min(len(data), 2048), 7):
        yield data[start : min(start + 7, 2048)]
    if len(data) > 2048:
        yield data[2048:]


def send(member: Client, image_id: str, data: bytes, way: str) -> int:
    return member.upload(image_id, data if way == "at once" else drip(data)).status_code


@pytest.mark.parametrize("way", ["at once", "in drops"])
@pytest.mark.parametrize("name", [*HOSTILE, *VAST])
def test_refused_and_nothing_left(service: Server, project: str, name: str, way: str) -> None:
    disk_format, data = {**HOSTILE, **VAST}[name]
    member = service.as_member(project)
    # Some formats are off by default in the configuration: there a create is refused already.
    made = member.post("/v2/images", json={"disk_format": disk_format, "container_format": "bare"})
    if made.status_code == 400:
        assert disk_format == "qed"
        return
    image_id = made.json()["id"]
    assert send(member, image_id, data, way) == REFUSED
    shown = member.show(image_id)
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("queued", None, None)
    assert [file for file in service.files() if image_id in file] == []


@pytest.mark.parametrize("way", ["at once", "in drops"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_with_its_virtual_size(service: Server, project: str, name: str, way: str) -> None:
    """The same builders without the sting: what is refused above is refused for the sting."""
    disk_format, data = ACCEPTED[name]
    member = service.as_member(project)
    image = member.create(disk_format=disk_format)
    assert send(member, image["id"], data, way) == 204
    assert member.show(image["id"])["virtual_size"] == MIB
    assert member.get(f"/v2/images/{image['id']}/file").content == data


def test_after_a_refusal_the_true_image_goes_up(service: Server, project: str) -> None:
    """Glance leaves the refused data behind, and the next upload is a conflict in its store."""
    member = service.as_member(project)
    image = member.create(disk_format="qcow2")
    for name in ("OSSA-2015-014 qcow2 with a backing file", "OSSA-2024-003 raw declared qcow2"):
        assert member.upload(image["id"], HOSTILE[name][1]).status_code == REFUSED
    assert member.upload(image["id"], qcow2()).status_code == 204
    assert member.show(image["id"])["status"] == "active"


@pytest.mark.services
def test_images_that_qemu_img_makes(service: Server, project: str, tmp_path: Path) -> None:
    """Not our own idea of a backing file and of a data file, but the tool's."""
    base, backed, external, good = (tmp_path / name for name in ("base", "backed", "external", "good"))
    for words in (
        ["-f", "raw", str(base), "1M"],
        ["-f", "qcow2", "-b", str(base), "-F", "raw", str(backed)],
        ["-f", "qcow2", "-o", f"data_file={tmp_path}/data", str(external), "1M"],
        ["-f", "qcow2", str(good), "1M"],
    ):
        subprocess.run(["qemu-img", "create", "-q", *words], check=True, timeout=30)
    member = service.as_member(project)
    for file, status in ((backed, REFUSED), (external, REFUSED), (good, 204)):
        for declared in ("raw", "qcow2"):
            image = member.create(disk_format=declared)
            # A good qcow2 under the name raw is only remarked upon.
            assert member.upload(image["id"], file.read_bytes()).status_code == status, (file.name, declared)


def test_refused_also_where_formats_may_differ(server: StartServer) -> None:
    """`require_image_format_match = false` is about what is declared, not about what is safe."""
    formats = {"require_image_format_match": False, "disk_formats": "raw,qcow2,vmdk,iso,vhd,ami,qed"}
    one = server(config={"image_format": formats})
    member = one.as_member("p")
    # A descriptor alone is text, and not known as a VMDK.
    harmless = ("OSSA-2024-003", "luks", "OSSA-2023-002 a descriptor alone")
    unsafe = {name: value for name, value in HOSTILE.items() if not name.startswith(harmless)}
    for name, (disk_format, data) in unsafe.items():
        image = member.create(disk_format=disk_format)
        assert member.upload(image["id"], data).status_code == REFUSED, name
        assert member.show(image["id"])["status"] == "queued", name
    for name, (disk_format, data) in VAST.items():
        image = member.create(disk_format=disk_format)
        assert member.upload(image["id"], data).status_code == 204, name
        assert member.show(image["id"])["virtual_size"] is None, name
    assert len(one.files()) == len(VAST)
