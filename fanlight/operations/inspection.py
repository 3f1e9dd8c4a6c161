"""What an image's bytes really are, found out while they pass, held against what was declared.

Fed by the store layer block by block during an upload; oslo.utils' inspectors do the looking. Only for container format
`bare`: what others hold is not a disk. The rules are Image API V2's ("Format inspection").
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Protocol

from oslo_utils.imageutils import format_inspector
from oslo_utils.imageutils.format_inspector import EndCaptureRegion, FileInspector

from fanlight.errors import UnsupportedMedia

LOG = logging.getLogger(__name__)
SLICE = 64 * 1024
"""Bytes shown to an inspector at a time while it has not seen what it wants: it copies all that it is shown."""
LARGEST = 2**63 - 1
"""Bytes of the largest disk that the catalogue can tell of."""
_KERNELS = frozenset({"aki", "ari"})


class Formats(Protocol):
    """The options of [image_format] that matter here."""

    @property
    def require_image_format_match(self) -> bool: ...
    @property
    def gpt_safety_checks_nonfatal(self) -> Collection[str]: ...


class Inspector:
    """Looks at one body. `update` with every block in order, then `finish`."""

    def __init__(self, disk_format: str, container_format: str, formats: Formats) -> None:
        self._declared = disk_format
        self._formats = formats
        self._looking = container_format == "bare"
        kinds = format_inspector.ALL_FORMATS
        self._all = [kind() for name, kind in kinds.items() if name != "raw"] if self._looking else []
        self._active = list(self._all)

    def update(self, block: bytes | memoryview) -> None:
        """See one block. Costs nothing once every inspector has seen what it wants, mostly in the first MiB."""
        if not self._active:
            return
        view = memoryview(block)
        for start in range(0, len(view), SLICE):
            self._show(bytes(view[start : start + SLICE]))
            if not self._active:
                return

    def _show(self, part: bytes) -> None:
        fed = []
        for inspector in self._active:
            try:
                inspector.eat_chunk(part)
                fed.append(inspector)
            except Exception as error:
                # Its format is not this one; that is all an inspector's failure may mean.
                LOG.debug("not %s: %s", inspector.NAME, error)
        self._active = _hungry(fed)

    def finish(self, size: int) -> int | None:
        """The virtual size in bytes of the disk that went by in `size` bytes, None if unknown.

        Raises UnsupportedMedia: the content is not the declared format or is several formats at once (both only with
        `require_image_format_match`), or it is not safe.
        """
        if not self._looking:
            return None
        for inspector in self._all:
            inspector.finish()
        matches = _matching(self._all)
        if matches.keys() == {"iso", "gpt"}:
            # A bootable ISO may have a partition table in front.
            del matches["gpt"]
        virtual_size = None
        try:
            virtual_size = self._judge(matches, size) or None
        except UnsupportedMedia as error:
            if self._formats.require_image_format_match:
                raise
            LOG.warning("accepted although: %s", error)
        for inspector in matches.values():
            self._require_safe(inspector)
        return virtual_size

    def _judge(self, matches: dict[str, FileInspector], size: int) -> int | None:
        if len(matches) > 1:
            raise UnsupportedMedia(f"The data looks like several formats at once: {', '.join(sorted(matches))}.")
        found = next(iter(matches), "raw")
        if self._declared == "raw":
            virtual_size: int | None = size
            if found != "raw":
                LOG.warning("an image that is declared raw looks like %s", found)
        elif found == self._declared:
            virtual_size = _virtual_size(matches[found], size)
        elif found == "raw" and self._declared not in format_inspector.ALL_FORMATS:
            virtual_size = None
        else:
            raise UnsupportedMedia(f"The image is declared as {self._declared}, the data is {found}.")
        return virtual_size

    def _require_safe(self, inspector: FileInspector) -> None:
        try:
            inspector.safety_check()
        except format_inspector.SafetyCheckFailed as error:
            tolerated = set(self._formats.gpt_safety_checks_nonfatal) if inspector.NAME == "gpt" else set()
            if self._declared in _KERNELS:
                # A kernel may begin like a partition table on purpose.
                tolerated.add("mbr")
            fatal = sorted(error.failures.keys() - tolerated)
            if fatal:
                raise UnsupportedMedia(f"The {inspector.NAME} data is not safe: {', '.join(fatal)}.") from error
            LOG.warning("checks of %s data failed and are tolerated: %s", inspector.NAME, sorted(error.failures))
        except Exception as error:
            raise UnsupportedMedia(f"The {inspector.NAME} data cannot be checked.") from error


def _hungry(inspectors: Iterable[FileInspector]) -> list[FileInspector]:
    """Those that have not seen all they want, or look at the end of the data, wherever that is."""
    found = []
    for inspector in inspectors:
        regions = inspector._capture_regions.values()
        if not inspector.complete or EndCaptureRegion in {type(region) for region in regions}:
            found.append(inspector)
    return found


def _matching(inspectors: Iterable[FileInspector]) -> dict[str, FileInspector]:
    """Those whose format this is, by name."""
    found = {}
    for inspector in inspectors:
        try:
            if inspector.format_match:
                found[inspector.NAME] = inspector
        except Exception as error:
            LOG.debug("not %s: %s", inspector.NAME, error)
    return found


def _virtual_size(inspector: FileInspector, size: int) -> int | None:
    """What the format's header says; formats that only know the bytes they were shown get the true number."""
    if type(inspector).virtual_size is FileInspector.virtual_size:
        return size
    try:
        claimed = int(inspector.virtual_size)
    except Exception as error:
        raise UnsupportedMedia(f"The {inspector.NAME} data has no readable size.") from error
    if not 0 <= claimed <= LARGEST:
        raise UnsupportedMedia(f"The {inspector.NAME} data claims a size that no disk has.")
    return claimed
