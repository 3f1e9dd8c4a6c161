"""The configuration as frozen, typed values: one class for a group of things, read once at start.

Each field declares its option: the group and name in the configuration file (Glance's own wherever Glance has the
option), its default and its help. `load` (load.py) makes a `Settings` from configuration files; `Settings()` are the
defaults of a service without any file. Sizes are bytes and times seconds unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg, types

from fanlight.settings.declaring import option

__all__ = [
    "ApiSettings",
    "CorsSettings",
    "DatabaseSettings",
    "FilteringSettings",
    "FormatSettings",
    "IdentitySettings",
    "LoggingSettings",
    "PolicySettings",
    "ServerSettings",
    "Settings",
    "StagingSettings",
    "StoreSettings",
    "StoresSettings",
]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the service runs: address, processes, threads and time limits."""

    bind_host: str = option("DEFAULT", cfg.StrOpt, "127.0.0.1", "Address to listen on.")
    bind_port: int = option("DEFAULT", cfg.PortOpt, 9292, "Port to listen on.")
    workers: int = option("DEFAULT", cfg.IntOpt, 1, "Worker processes; about one for each processor. 0: one.", min=0)
    data_dir: str = option(
        "fanlight",
        cfg.StrOpt,
        "data",
        "Folder of the database, images and staged data where nothing else says their place. Set here or on the "
        "command line, it also stands for a store `local` of type file where no store is configured.",
    )
    migrate: bool = option(
        "fanlight", cfg.BoolOpt, True, "Make and migrate the database at start, like `fanlight db sync`."
    )
    metadata_threads: int = option("fanlight", cfg.IntOpt, 8, "Requests on metadata at once in one worker.", min=1)
    store_threads: int = option(
        "fanlight",
        cfg.IntOpt,
        32,
        "Requests at once in one worker that wait for a store and move no data: deletes, changes of locations.",
        min=1,
    )
    transfer_threads: int = option("fanlight", cfg.IntOpt, 1024, "Uploads at once in one worker; more get 503.", min=1)
    transfer_memory: int = option(
        "fanlight", cfg.IntOpt, 128 * _MIB, "Bytes of memory for the uploads of one worker.", min=16 * _MIB
    )
    head_seconds: float = option(
        "fanlight", cfg.FloatOpt, 30.0, "Seconds in which a request's head must have come.", min=0.1
    )
    body_seconds: float = option(
        "fanlight", cfg.FloatOpt, 60.0, "Seconds without any byte after which an upload is ended.", min=0.1
    )
    answer_seconds: float = option(
        "fanlight", cfg.FloatOpt, 60.0, "Seconds without any byte taken after which a download is ended.", min=0.1
    )
    idle_seconds: float = option(
        "fanlight", cfg.FloatOpt, 75.0, "Seconds for which a connection without requests is kept.", min=0.1
    )
    graceful_seconds: float = option(
        "fanlight", cfg.FloatOpt, 60.0, "Seconds for which transfers may go on when the service is to end.", min=0.1
    )
    lease_seconds: float = option(
        "fanlight",
        cfg.FloatOpt,
        30.0,
        "Seconds of silence of a process after which its transfers are given up and cleaned away by others.",
        min=3,
    )
    max_json_body: int = option("fanlight", cfg.IntOpt, _MIB, "Bytes of the largest JSON body.", min=1024)
    max_request_id_length: int = option(
        "DEFAULT", cfg.IntOpt, 64, "Longest request id that a client may send; 0: any.", min=0
    )
    enable_proxy_headers_parsing: bool = option(
        "oslo_middleware",
        cfg.BoolOpt,
        False,
        "Believe what Forwarded, or X-Forwarded-Proto, -Host and -Port, and X-Forwarded-Prefix say of the URL by which "
        "clients know the service, for links. Only behind a proxy that sets them and lets nobody else's through.",
    )
    disable_by_file_path: str | None = option(
        "healthcheck",
        cfg.StrOpt,
        None,
        "While this file exists, /healthcheck answers 503. A pipeline file of Glance that names one wins.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """What clients may do and see."""

    api_limit_max: int = option("DEFAULT", cfg.IntOpt, 1000, "Most images on one page of a list.", min=1)
    limit_param_default: int = option(
        "DEFAULT", cfg.IntOpt, 25, "Images on a page when the client does not say.", min=1
    )
    image_member_quota: int = option("DEFAULT", cfg.IntOpt, 128, "Members of one image; negative: no limit.")
    image_property_quota: int = option(
        "DEFAULT", cfg.IntOpt, 128, "Custom properties of one image; negative: no limit."
    )
    image_tag_quota: int = option("DEFAULT", cfg.IntOpt, 128, "Tags of one image; negative: no limit.")
    image_location_quota: int = option("DEFAULT", cfg.IntOpt, 10, "Locations of one image; negative: no limit.")
    image_size_cap: int = option("DEFAULT", cfg.IntOpt, 2**40, "Bytes of the largest image accepted.", min=1, max=2**63)
    user_storage_quota: int = option(
        "DEFAULT",
        cfg.StrOpt,
        "0",
        "Bytes that one project may store: digits, then B, KB, MB, GB or TB (powers of 1024) if wanted; 0: no limit.",
        value=0,
    )
    show_image_direct_url: bool = option("DEFAULT", cfg.BoolOpt, False, "Show where an image's data lies (direct_url).")
    show_multiple_locations: bool = option(
        "DEFAULT",
        cfg.BoolOpt,
        False,
        "Show all locations of an image, and let clients change them. Whoever sees them may be able to reach the data "
        "behind the service's back.",
    )
    hashing_algorithm: str = option(
        "DEFAULT",
        cfg.StrOpt,
        "sha512",
        "Hash of new data: a name that Python's hashlib knows, with a digest of a fixed size up to 64 bytes.",
    )
    metadata_encryption_key: str | None = option(
        "DEFAULT",
        cfg.StrOpt,
        None,
        "Key (16, 24 or 32 bytes) with which the URLs of locations are encrypted in the catalogue, as Glance does. "
        "URLs that are there already stay as they are, and readable.",
        secret=True,
    )
    public_endpoint: str | None = option(
        "DEFAULT",
        cfg.StrOpt,
        None,
        "URL of the service as clients see it, https://host or with a path: all absolute links (list of versions, "
        "Location) begin so.",
    )
    schema_image_file: str | None = option(
        "fanlight",
        cfg.StrOpt,
        "schema-image.json",
        "JSON file that declares custom image properties. A relative path is looked up beside the configuration files.",
        value=None,
    )
    enabled_import_methods: tuple[str, ...] = ()
    """The import methods on offer: none, whatever the option says, until import is there."""
    image_cache_dir: str | None = None
    """Where the cache of image data is: nowhere, whatever the option says, until the cache is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSettings:
    """Which formats images may have, and how closely the content is held against them."""

    container_formats: tuple[str, ...] = option(
        "image_format",
        cfg.ListOpt,
        ["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"],
        "Accepted container formats.",
        deprecated_group="DEFAULT",
    )
    disk_formats: tuple[str, ...] = option(
        "image_format",
        cfg.ListOpt,
        ["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"],
        "Accepted disk formats. `gpt` may be added.",
        deprecated_group="DEFAULT",
    )
    require_image_format_match: bool = option(
        "image_format", cfg.BoolOpt, True, "Refuse data that is not of the declared disk format."
    )
    gpt_safety_checks_nonfatal: tuple[str, ...] = option(
        "image_format", cfg.ListOpt, [], "Names of safety checks on GPT and MBR images that are only logged."
    )
    vmdk_allowed_types: tuple[str, ...] = option(
        "image_format", cfg.ListOpt, ["streamOptimized", "monolithicSparse"], "VMDK create types accepted."
    )


def _filter(default: list[Any], help_text: str, item: Any = None) -> Any:
    return option("import_filtering_opts", cfg.ListOpt, default, help_text, bounds=True, item_type=item)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteringSettings:
    """Which URLs that clients name the service may ask. Of each pair, the list of what is refused counts only where the
    list of what is allowed is empty.
    """

    allowed_schemes: tuple[str, ...] = _filter(["http", "https"], "Schemes of URLs that clients may name; empty: any.")
    disallowed_schemes: tuple[str, ...] = _filter([], "Schemes that they may not name.")
    allowed_hosts: tuple[str, ...] = _filter(
        [],
        "Host names, addresses or networks that they may name, also where those are this machine or its link; empty: "
        "any others.",
    )
    disallowed_hosts: tuple[str, ...] = _filter(
        [], "Host names that they may not name. Addresses and networks here are refused in any case."
    )
    allowed_ports: tuple[int, ...] = _filter(
        [80, 443], "Ports that may stand in a URL; empty: any.", types.Integer(min=1, max=65535)
    )
    disallowed_ports: tuple[int, ...] = _filter([], "Ports that may not stand in one.", types.Integer(min=1, max=65535))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where the catalogue is. `connection` may hold a password: never log it."""

    connection: str = option(
        "database",
        cfg.StrOpt,
        None,
        "URL of the database: sqlite:///file, mysql+pymysql://… or postgresql://…. Default: SQLite in data_dir.",
        value="sqlite:///data/fanlight.db",
        secret=True,
    )
    max_pool_size: int = option("database", cfg.IntOpt, 5, "Connections kept open by one worker; 0: all.", min=0)
    max_overflow: int = option(
        "database", cfg.IntOpt, 50, "Connections beyond those, while needed; -1: any number.", min=-1
    )
    pool_timeout: float | None = option(
        "database", cfg.FloatOpt, None, "Seconds to wait for a free connection; unset: 30.", min=0.1
    )
    connection_recycle_time: int = option(
        "database", cfg.IntOpt, 3600, "Seconds after which a connection is replaced by a new one; -1: never.", min=-1
    )
    mysql_sql_mode: str | None = option(
        "database", cfg.StrOpt, "TRADITIONAL", "SQL mode of MySQL sessions; empty: the server's own."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """How callers are identified."""

    mode: str = "none"
    """none, http_basic, keystone, trusted or fakeauth: what `[paste_deploy] flavor` stands for."""
    htpasswd_file: str | None = option(
        "fanlight", cfg.StrOpt, None, "Identity http_basic: file with user names and bcrypt hashes."
    )
    mapping_file: str | None = option(
        "fanlight", cfg.StrOpt, None, "Identity http_basic: file with the project and roles of each user."
    )
    default_user_id: str = option("fanlight", cfg.StrOpt, "admin", "Identity none: who everybody is.")
    default_project_id: str = option("fanlight", cfg.StrOpt, "default", "Identity none: the project of everybody.")
    allow_remote: bool = option(
        "fanlight",
        cfg.BoolOpt,
        False,
        "Identity none: listen on other than loopback addresses, and serve callers that are not on this machine. "
        "Whoever reaches the port is the administrator.",
        name="allow_remote_none",
    )
    allowed_hosts: tuple[str, ...] = option(
        "fanlight", cfg.ListOpt, [], "Identity none and http_basic: further Host names that are this service."
    )
    allow_anonymous_access: bool = option(
        "DEFAULT", cfg.BoolOpt, False, "Let callers without identity in, read-only and without roles."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Where policy overrides are (absolute paths; None and (): nowhere), and which defaults hold."""

    policy_file: str | None = option(
        "oslo_policy",
        cfg.StrOpt,
        "policy.yaml",
        "Overrides of policy rules, YAML or JSON. A relative path is looked up beside the configuration files.",
        value=None,
    )
    policy_dirs: tuple[str, ...] = option(
        "oslo_policy",
        cfg.MultiStrOpt,
        ["policy.d"],
        "Folders with further overrides, which win over the file. Repeatable.",
        value=(),
    )
    policy_default_rule: str = option(
        "oslo_policy", cfg.StrOpt, "default", "The rule that decides for names that have none."
    )
    enforce_new_defaults: bool = option(
        "oslo_policy", cfg.BoolOpt, True, "False: what the older default of a rule allowed is allowed, too."
    )
    remote_content_type: str = option(
        "oslo_policy",
        cfg.StrOpt,
        "application/x-www-form-urlencoded",
        "Form of the question that `http:` and `https:` checks send.",
        choices=["application/x-www-form-urlencoded", "application/json"],
    )
    remote_ssl_verify_server_crt: bool = option(
        "oslo_policy", cfg.BoolOpt, False, "Whether `https:` checks verify the server's certificate."
    )
    remote_ssl_ca_crt_file: str | None = option("oslo_policy", cfg.StrOpt, None, "CA bundle of `https:` checks.")
    remote_ssl_client_crt_file: str | None = option(
        "oslo_policy", cfg.StrOpt, None, "Client certificate of `https:` checks."
    )
    remote_ssl_client_key_file: str | None = option("oslo_policy", cfg.StrOpt, None, "Key of that client certificate.")
    remote_timeout: float = option(
        "oslo_policy", cfg.FloatOpt, 60.0, "Seconds after which an `http:` or `https:` check is given up.", min=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """One configured store: its group, or `[glance_store]` in the classic form."""

    id: str
    """The name that clients know it by; in the classic form the type."""
    type: str
    """The driver: file, http, rbd, s3, swift, cinder, vmware, sheepdog, gridfs, or a vendor's."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The driver's options by name, typed, with defaults (drivers.py). May hold passwords: never log them."""
    description: str | None = None
    """`store_description`: what clients read about it."""
    weight: int = 0
    """`weight`: heavier stores are read first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresSettings:
    """All stores that images may be in."""

    stores: tuple[StoreSettings, ...] = ()
    """In the order of the configuration."""
    default: str = "local"
    """The id of the store for new data: `default_backend`, or the store that serves `default_store`."""
    multi_store: bool = True
    """Whether clients know the ids: false in the classic form, without `enabled_backends`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingSettings:
    """The service's own stores, of type file, that clients never see. Nothing uses them until import is there."""

    staging: StoreSettings = StoreSettings(id="os_glance_staging_store", type="file")
    """What clients stage for an import."""
    tasks: StoreSettings = StoreSettings(id="os_glance_tasks_store", type="file")
    """What jobs work on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsSettings:
    """Which web pages may read answers."""

    allowed_origin: tuple[str, ...] = option("cors", cfg.ListOpt, [], "Web origins that may read answers; *: all.")
    allow_credentials: bool = option("cors", cfg.BoolOpt, True, "Whether they may send credentials.")
    expose_headers: tuple[str, ...] = option(
        "cors",
        cfg.ListOpt,
        ["X-Image-Meta-Checksum", "X-Auth-Token", "X-Subject-Token", "X-Service-Token", "X-OpenStack-Request-ID"],
        "Headers of an answer that they may read.",
    )
    max_age: int = option("cors", cfg.IntOpt, 3600, "Seconds for which a preflight answer holds.", min=0)
    allow_methods: tuple[str, ...] = option(
        "cors", cfg.ListOpt, ["GET", "PUT", "POST", "DELETE", "PATCH"], "Methods that they may use."
    )
    allow_headers: tuple[str, ...] = option(
        "cors",
        cfg.ListOpt,
        [
            "Content-MD5",
            "X-Image-Meta-Checksum",
            "X-Storage-Token",
            "Accept-Encoding",
            "X-Auth-Token",
            "X-Identity-Status",
            "X-Roles",
            "X-Service-Catalog",
            "X-User-Id",
            "X-Tenant-Id",
            "X-OpenStack-Request-ID",
        ],
        "Headers that they may send, beside Accept, Accept-Language, Content-Type, Cache-Control, Content-Language, "
        "Expires, Last-Modified and Pragma.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSettings:
    """Where log lines go and in which form."""

    debug: bool = option("DEFAULT", cfg.BoolOpt, False, "Log more.")
    use_json: bool = option("DEFAULT", cfg.BoolOpt, False, "Log lines as JSON.", deprecated_name="use-json")
    log_file: str | None = option(
        "DEFAULT",
        cfg.StrOpt,
        None,
        "Log to this file instead of standard error; a relative path is below log_dir.",
        deprecated_opts=[cfg.DeprecatedOpt("log-file"), cfg.DeprecatedOpt("logfile")],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything."""

    server: ServerSettings = ServerSettings()
    """How the service runs."""
    api: ApiSettings = ApiSettings()
    """What clients may do and see."""
    formats: FormatSettings = FormatSettings()
    """Formats of images."""
    filtering: FilteringSettings = FilteringSettings()
    """Which URLs that clients name may be asked."""
    database: DatabaseSettings = DatabaseSettings()
    """Where the catalogue is."""
    identity: IdentitySettings = IdentitySettings()
    """How callers are identified."""
    keystone: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`[keystone_authtoken]` as text, by name with underscores; http/identity gives it to keystonemiddleware."""
    policy: PolicySettings = PolicySettings()
    """Who may do what."""
    stores: StoresSettings = StoresSettings()
    """Where images are."""
    staging: StagingSettings = StagingSettings()
    """Where staged data is."""
    cors: CorsSettings = CorsSettings()
    """Which web pages may read answers."""
    logging: LoggingSettings = LoggingSettings()
    """Where log lines go."""
    warnings: tuple[str, ...] = ()
    """What the operator should read at start: one line each, no secrets."""
    files: tuple[str, ...] = ()
    """The configuration files that were read, in order."""
