"""Configuration files to `Settings`: read once, checked once, everything that has no effect named in a warning."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fanlight.settings import (
    ApiSettings,
    CorsSettings,
    DatabaseSettings,
    FilteringSettings,
    FormatSettings,
    IdentitySettings,
    LoggingSettings,
    PolicySettings,
    ServerSettings,
    Settings,
)
from fanlight.settings.declaring import declared
from fanlight.settings.flavors import FLAVORS, KNOWN, SUFFIXES, Paste, read_paste
from fanlight.settings.options import KEYSTONE
from fanlight.settings.reading import Reader, list_files, no_word_of_older_names
from fanlight.settings.selection import select_stores
from fanlight.settings.unused import unused_options

T = TypeVar("T")
_UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_AES_KEYS = (16, 24, 32)
_LONGEST_HASH = 64
"""Bytes of a digest that the column os_hash_value takes, in hexadecimal."""


def load(
    config_files: Sequence[str] = (), config_dirs: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the files, then the `*.conf` files of the folders; later values win, then the environment, then `overrides`
    (options of the command line, by name; None: not given).

    Raises SettingsError: one line that names file, group, option and value.
    """
    with no_word_of_older_names():
        return _load(config_files, config_dirs, overrides or {})


def _load(config_files: Sequence[str], config_dirs: Sequence[str], overrides: Mapping[str, Any]) -> Settings:
    reader = Reader(list_files(config_files, config_dirs), overrides)
    flavor = (reader.value("paste_deploy", "flavor") or "").strip()
    if flavor not in FLAVORS:
        raise reader.wrong("paste_deploy", "flavor", KNOWN)
    mode = FLAVORS[flavor]
    paste = read_paste(reader.value("paste_deploy", "config_file"), [str(name) for name in config_files], flavor)
    data_dir = Path(reader.value("fanlight", "data_dir")).absolute()
    stores, staging = select_stores(reader, data_dir)
    homes = [Path(folder).absolute() for folder in reversed(config_dirs)]
    homes += [Path(name).absolute().parent for name in reversed(config_files)]
    settings = Settings(
        server=_server(reader, paste),
        api=_api(reader, homes),
        formats=_filled(reader, FormatSettings),
        filtering=_filled(reader, FilteringSettings),
        database=_database(reader, data_dir),
        identity=_filled(reader, IdentitySettings, mode=mode),
        keystone=reader.keystone(),
        policy=_policy(reader, homes),
        stores=stores,
        staging=staging,
        cors=_filled(reader, CorsSettings),
        logging=_logging(reader),
        files=tuple(reader.files),
    )
    _require_closed(reader, settings)
    for host in settings.identity.allowed_hosts:
        if not re.fullmatch(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?|[0-9A-Fa-f:.]+", host.strip(), re.ASCII):
            raise reader.wrong("fanlight", "allowed_hosts", "each must be the name or the address of a host, no URL")
    _tell_of_flavor(reader, flavor, mode)
    warnings = [*reader.warnings, *paste.warnings, *reader.older_names(), *unused_options(reader, stores)]
    return replace(settings, warnings=tuple(warnings))


def _filled(reader: Reader, kind: type[T], **known: Any) -> T:
    """A class of settings from its options; `known`: fields that are decided otherwise."""
    values = dict(known)
    for one in declared(kind):
        if one.field not in values:
            value = reader.value(one.group, one.option.dest)
            values[one.field] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _server(reader: Reader, paste: Paste) -> ServerSettings:
    # Operators take a node out of the load balancer with the file that Glance's pipeline names.
    disable = paste.disable_file or reader.value("healthcheck", "disable_by_file_path")
    return _filled(reader, ServerSettings, disable_by_file_path=disable)


def _api(reader: Reader, homes: Sequence[Path]) -> ApiSettings:
    algorithm = reader.value("DEFAULT", "hashing_algorithm")
    if not is_hash(algorithm):
        raise reader.wrong(
            "DEFAULT",
            "hashing_algorithm",
            "hashlib has no such hash with a fixed digest of up to 64 bytes",
        )
    match = re.fullmatch(r"(\d+)(B|KB|MB|GB|TB|)", reader.value("DEFAULT", "user_storage_quota"), re.ASCII)
    if match is None:
        raise reader.wrong("DEFAULT", "user_storage_quota", "it must be digits and then B, KB, MB, GB, TB or nothing")
    quota = int(match[1]) * _UNITS[match[2]]
    key = reader.value("DEFAULT", "metadata_encryption_key")
    if key and len(key.encode()) not in _AES_KEYS:
        raise reader.wrong("DEFAULT", "metadata_encryption_key", "it must have 16, 24 or 32 bytes")
    endpoint = reader.value("DEFAULT", "public_endpoint")
    if endpoint and not _is_base_url(endpoint):
        raise reader.wrong("DEFAULT", "public_endpoint", "it must be http:// or https://, a host, and at most a path")
    return _filled(reader, ApiSettings, user_storage_quota=quota, schema_image_file=_schema_file(reader, homes))


def _is_base_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and not set(text) & set(" ?#@")
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def is_hash(name: str) -> bool:
    """Whether hashlib has this algorithm, with a fixed digest of at most 64 bytes: os_hash_value has 128 characters."""
    try:
        return 0 < len(hashlib.new(name).digest()) <= _LONGEST_HASH  # shake wants a length
    except (ValueError, TypeError):
        return False


def _database(reader: Reader, data_dir: Path) -> DatabaseSettings:
    connection = reader.value("database", "connection")
    if not connection:
        path = data_dir / "fanlight.db"
        connection = f"sqlite:///{path}"
        if reader.files and not reader.is_given("fanlight", "data_dir"):
            reader.warn(f"[database]connection is not set: the catalogue is SQLite in {path}.")
    return _filled(reader, DatabaseSettings, connection=connection)


def _logging(reader: Reader) -> LoggingSettings:
    file, folder = reader.value("DEFAULT", "log_file"), reader.value("DEFAULT", "log_dir")
    if folder:
        file = str(Path(folder) / (file or "fanlight.log"))
    return _filled(reader, LoggingSettings, log_file=file or None)


# -- files beside the configuration, which is in the folders `homes`: the first that has a file counts


def _schema_file(reader: Reader, homes: Sequence[Path]) -> str | None:
    """Where custom properties are declared; None: nowhere. Only a file that was asked for is missed."""
    name, given = reader.value("fanlight", "schema_image_file"), reader.is_given("fanlight", "schema_image_file")
    file = _looked_up(name, homes) if name and (homes or given) else None
    if file is None or file.exists():
        return str(file) if file else None
    if given:
        reader.warn(f"[fanlight]schema_image_file: {file} does not exist; no custom property is declared.")
    return None


def _policy(reader: Reader, homes: Sequence[Path]) -> PolicySettings:
    name, folders = reader.value("oslo_policy", "policy_file"), reader.value("oslo_policy", "policy_dirs")
    file = _looked_up(name, homes) if name and (homes or reader.is_given("oslo_policy", "policy_file")) else None
    if file is not None:
        _tell_of_policy(reader, file)
    given = homes or reader.is_given("oslo_policy", "policy_dirs")
    dirs = tuple(str(_looked_up(folder, homes)) for folder in folders if folder and given)
    for folder in dirs if reader.is_given("oslo_policy", "policy_dirs") else ():
        if not Path(folder).is_dir():
            reader.warn(f"[oslo_policy]policy_dirs: {folder} does not exist; nothing is read there.")
    return _filled(reader, PolicySettings, policy_file=str(file) if file else None, policy_dirs=dirs)


def _looked_up(name: str, homes: Sequence[Path]) -> Path:
    """Where a relative path is: in the first folder that has it, or else beside the last configuration file."""
    places = [home / name for home in homes] or [Path(name).absolute()]
    return next((place for place in places if place.exists()), places[0])


def _tell_of_policy(reader: Reader, file: Path) -> None:
    if file.exists():
        return
    if reader.is_given("oslo_policy", "policy_file"):
        reader.warn(f"[oslo_policy]policy_file: {file} does not exist; the default rules hold.")
    elif file.with_suffix(".json").exists():
        reader.warn(
            f"{file.with_suffix('.json')} is not read; to have it, set [oslo_policy]policy_file = policy.json "
            "(or rename it: JSON is YAML)."
        )


# -- what does not fit together


def _require_closed(reader: Reader, settings: Settings) -> None:
    """Without authentication, nobody but this machine may come near, unless the operator says so in so many words."""
    host = settings.server.bind_host
    if settings.identity.mode != "none" or settings.identity.allow_remote or _is_loopback(host):
        return
    raise reader.wrong(
        "DEFAULT",
        "bind_host",
        "without authentication ([paste_deploy]flavor is empty) it must be a loopback address; set a flavor, or "
        "[fanlight]allow_remote_none = true (--allow-remote-none)",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell_of_flavor(reader: Reader, flavor: str, mode: str) -> None:
    suffix = flavor.rpartition("+")[2]
    if suffix in SUFFIXES:
        reader.warn(f"[paste_deploy]flavor = {flavor}: there is no cache yet, {suffix} has no effect.")
    if mode != "keystone" and reader.sections.get(KEYSTONE):
        reader.warn(f"[{KEYSTONE}] has no effect: [paste_deploy]flavor = {flavor or '(empty)'} does not ask Keystone.")
