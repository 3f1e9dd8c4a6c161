"""The two files of mode http_basic, kept as one table: htpasswd (passwords) and mapping (whom users stand for).

htpasswd: `user:hash` a line, bcrypt hashes only (`htpasswd -B`). mapping: INI, one section a user:

    [alice]
    user_id = alice
    project_id = 3f0cbc8b1ae34b9bb0f0d6d1f2c7b3a1
    roles = member, reader
"""

from __future__ import annotations

import configparser
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from fanlight.errors import SettingsError
from fanlight.http.identity.parts import named, role_names
from fanlight.model import Caller

BCRYPT = re.compile(rb"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}\Z")
KEYS = frozenset({"user_id", "project_id", "roles", "domain_id", "user_domain_id", "project_domain_id"})

Fingerprint = tuple[int, int, int, int]
RACY_NS = 50_000_000
"""A file changed so recently (nanoseconds) may change again within the same tick of the file system's clock."""


@dataclass(frozen=True, slots=True)
class Account:
    """One user: the bcrypt hash of the password, and whom it stands for (None: not in the mapping file)."""

    password_hash: bytes
    caller: Caller | None


class Accounts:
    """Both files as one table by user name (bytes), read again when either changes."""

    def __init__(self, htpasswd_file: str, mapping_file: str) -> None:
        self._files = (htpasswd_file, mapping_file)
        self._seen: tuple[Fingerprint | None, ...] = ()
        self._texts: tuple[bytes, ...] = ()
        self.table: Mapping[bytes, Account] = {}
        self.hashes: tuple[bytes, ...] = ()

    def changed(self) -> bool:
        """Whether a file may differ from what `table` was read from; two `stat` calls."""
        return not self._seen or self._seen != tuple(_fingerprint(path) for path in self._files)

    def read(self) -> bool:
        """Fill `table` from the files; whether they say anything new.

        Raises SettingsError, with `table` as before; the next change is tried again.
        """
        self._seen = tuple(_fingerprint(path) for path in self._files)
        texts = tuple(_text(path) for path in self._files)
        if texts == self._texts:
            return False
        htpasswd_file, mapping_file = self._files
        hashes = parse_htpasswd(texts[0], htpasswd_file)
        callers = parse_mapping(texts[1], mapping_file)
        self._texts = texts
        self.hashes = tuple(hashes.values())
        self.table = {name: Account(value, callers.get(name)) for name, value in hashes.items()}
        return True

    def unmapped(self) -> list[str]:
        """Users with a password who stand for nobody."""
        return sorted(name.decode("utf-8", "replace") for name, item in self.table.items() if item.caller is None)


def parse_htpasswd(text: bytes, path: str) -> dict[bytes, bytes]:
    """User name -> bcrypt hash. Raises SettingsError at the first line that is anything else."""
    hashes: dict[bytes, bytes] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise SettingsError(f"{path}, line {number}: expected user:hash.")
        if not BCRYPT.match(value):
            raise SettingsError(
                f"{path}, line {number}: the hash of this user is not bcrypt; only bcrypt is accepted "
                f"(set it anew with: htpasswd -B {path} USER)."
            )
        if name in hashes:
            raise SettingsError(f"{path}, line {number}: the user is there twice.")
        hashes[name] = value
    return hashes


def parse_mapping(text: bytes, path: str) -> dict[bytes, Caller]:
    """User name -> Caller. Raises SettingsError on what is no INI, unknown keys and missing ones."""
    parser = configparser.ConfigParser(
        interpolation=None, default_section="", delimiters=("=",), comment_prefixes=("#", ";"), strict=True
    )
    try:
        parser.read_string(text.decode("utf-8"), path)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a mapping file: {str(error).splitlines()[0]}") from None
    callers: dict[bytes, Caller] = {}
    for name in parser.sections():
        section = parser[name]
        unknown = sorted(set(section) - KEYS)
        if unknown:
            raise SettingsError(
                f"{path}, user {name}: unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}."
            )
        for key in ("project_id", "roles"):
            if key not in section:
                raise SettingsError(f"{path}, user {name}: {key} is missing (it may be empty).")
        callers[name.encode()] = Caller(
            user_id=named(section.get("user_id")) or name,
            project_id=named(section["project_id"]),
            roles=role_names(section["roles"]),
            domain_id=named(section.get("domain_id")),
            user_domain_id=named(section.get("user_domain_id", "default")),
            project_domain_id=named(section.get("project_domain_id", "default")),
        )
    return callers


def _text(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None


def _fingerprint(path: str) -> Fingerprint | None:
    """What changes when the file does. None, which never matches for long, while the file is away or just written."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    if 0 <= time.time_ns() - state.st_mtime_ns < RACY_NS:
        return (state.st_ino, state.st_size, state.st_mtime_ns, -time.monotonic_ns())
    return (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
