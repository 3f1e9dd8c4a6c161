"""What the options of the filesystem store say: folders, the mode of files, and the metadata of mount points."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

import msgspec

from fanlight.errors import BadStoreConfiguration

LOG = logging.getLogger(__name__)


def directories(options: Mapping[str, Any]) -> dict[str, int]:
    """Directory -> priority (the highest is filled first). `filesystem_store_datadirs` wins over the single directory.

    Raises BadStoreConfiguration.
    """
    several = options.get("filesystem_store_datadirs")
    if not several:
        single = options.get("filesystem_store_datadir")
        if not single:
            raise BadStoreConfiguration("filesystem_store_datadir is not set.")
        return {os.path.abspath(single): 0}
    found: dict[str, int] = {}
    for item in several:
        path, colon, number = item.strip().rpartition(":")
        if not colon:
            path, number = number, ""
        number = number.strip() or "0"
        if not path.strip() or not re.fullmatch(r"-?\d{1,9}", number, re.ASCII):
            raise BadStoreConfiguration(f"filesystem_store_datadirs: {item!r} is not path or path:priority.")
        path, priority = os.path.abspath(path.strip()), int(number)
        if found.get(path, priority) != priority:
            raise BadStoreConfiguration(f"filesystem_store_datadirs: {path} has two priorities.")
        if path in found:
            LOG.warning("filesystem_store_datadirs: %s is there twice.", path)
        found[path] = priority
    return found


def file_mode(digits: int) -> int:
    """File mode from octal digits read as a decimal number; 0 leaves it to the umask. Raises BadStoreConfiguration."""
    if digits <= 0:
        return 0
    try:
        mode = int(str(digits), 8)
    except ValueError:
        raise BadStoreConfiguration(f"filesystem_store_file_perm: {digits} are no octal digits.") from None
    if not mode & stat.S_IRUSR:
        raise BadStoreConfiguration("filesystem_store_file_perm must let the owner read.")
    return mode


def let_through(directory: str, mode: int) -> None:
    """Who may read the files must be able to reach them."""
    wanted = os.stat(directory).st_mode & 0o7777
    wanted |= stat.S_IXGRP if mode & stat.S_IRWXG else 0
    wanted |= stat.S_IXOTH if mode & stat.S_IRWXO else 0
    os.chmod(directory, wanted)


def mountpoints(name: str | None) -> list[dict[str, str]]:
    if not name:
        return []
    try:
        with open(name, "rb") as file:
            found = msgspec.json.decode(file.read())
        entries = found if isinstance(found, list) else [found]
        for entry in entries:
            if not isinstance(entry["id"], str) or not isinstance(entry["mountpoint"], str):
                raise TypeError("id and mountpoint must be texts")
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadStoreConfiguration(f"filesystem_store_metadata_file {name} cannot be used: {error}") from error
    return entries
