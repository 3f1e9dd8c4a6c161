"""THE table of the options of stores: type of a store -> its options, with Glance's names, types and defaults.

In a file they stand in the group of the store (`enabled_backends`), in `[backend_defaults]` for all stores, or in
`[glance_store]` (classic form). A type that is not here, a vendor's, gets its options as text, as they stand there.
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg, types

STORE_OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt("store_description", help="What clients read about the store (several stores only)."),
    cfg.IntOpt("weight", default=0, help="Heavier stores are read first (several stores only)."),
]
"""What every store has, whatever its type."""

ALIASES = {"filesystem": "file", "https": "http", "vsphere": "vmware", "vmware_datastore": "vmware"}
"""Other spellings of a type: schemes, and the class names of very old files."""

SCHEMES: dict[str, str] = {
    "file": "file",
    "filesystem": "file",
    "http": "http",
    "https": "http",
    "rbd": "rbd",
    "s3": "s3",
    "swift": "swift",
    "swift+http": "swift",
    "swift+https": "swift",
    "swift+config": "swift",
    "cinder": "cinder",
    "vsphere": "vmware",
    "sheepdog": "sheepdog",
    "gridfs": "gridfs",
}
"""Value of `default_store` -> type."""


def _text(name: str, help_text: str, default: str | None = None, **more: Any) -> cfg.Opt:
    return cfg.StrOpt(name, default=default, help=help_text, **more)


def _secret(name: str, help_text: str) -> cfg.Opt:
    return cfg.StrOpt(name, secret=True, help=help_text)


def _number(name: str, default: int, help_text: str, **more: Any) -> cfg.Opt:
    return cfg.IntOpt(name, default=default, help=help_text, **more)


def _switch(name: str, help_text: str, default: bool = False, **more: Any) -> cfg.Opt:
    return cfg.BoolOpt(name, default=default, help=help_text, **more)


DRIVER_OPTIONS: dict[str, list[cfg.Opt]] = {
    "file": [
        _text("filesystem_store_datadir", "Folder of the images.", "/var/lib/glance/images"),
        cfg.MultiStrOpt(
            "filesystem_store_datadirs",
            help="Several folders instead, each `path` or `path:priority`; repeatable. Higher priorities fill first.",
        ),
        _text("filesystem_store_metadata_file", "JSON file with the metadata of locations, by mount point."),
        _number("filesystem_store_file_perm", 0, "File mode as octal digits (640); 0: what the umask leaves."),
        _switch("filesystem_thin_provisioning", "Leave holes in files instead of writing zeros."),
        _number("filesystem_store_chunk_size", 65536, "Bytes read and written at a time.", min=1),
        _number("filesystem_store_timeout", 0, "Seconds after which a file operation is given up; 0: never.", min=0),
        _number("filesystem_store_thread_pool_size", 10, "Threads for operations with a time limit.", min=1),
        _number("filesystem_store_threadpool_threshold", 75, "Percent of those, above which to warn.", min=0, max=100),
        cfg.MultiStrOpt(
            "filesystem_store_also_read",
            help="Fanlight's own: further folders in which locations of old rows may lie; repeatable. Files elsewhere "
            "than here and in the folders above are never read or deleted.",
        ),
    ],
    "http": [
        _text("https_ca_certificates_file", "CA bundle that certificates are verified with."),
        _switch("https_insecure", "Do not verify certificates (without effect where a CA bundle is set).", True),
        cfg.DictOpt("http_proxy_information", default={}, secret=True, help="Proxies as `scheme:proxy` pairs."),
        cfg.ListOpt(
            "http_allowed_hosts",
            default=[],
            help="Names, addresses and networks that may be read from although they are loopback, link-local or "
            "otherwise refused.",
        ),
        cfg.ListOpt("http_denied_hosts", default=[], help="Names, addresses and networks that may not be read from."),
        _number("http_connect_timeout", 10, "Seconds to wait for a connection.", min=1),
        _number("http_read_timeout", 60, "Seconds to wait for the next bytes of an answer.", min=1),
    ],
    "rbd": [
        _text("rbd_store_pool", "Pool of the images.", "images"),
        _text("rbd_store_user", "Cephx user."),
        _text("rbd_store_ceph_conf", "Path of ceph.conf; empty: where librados looks.", ""),
        _number("rbd_store_chunk_size", 8, "MiB of one RADOS object, a power of two.", min=1),
        _number("rados_connect_timeout", -1, "Seconds to wait for the cluster; negative: as ceph.conf says."),
        _switch("rbd_thin_provisioning", "Do not write blocks of zeros."),
    ],
    "s3": [
        _text("s3_store_host", "Endpoint, with http:// or https://."),
        _text("s3_store_region_name", "Region; empty: derived from the host.", ""),
        _secret("s3_store_access_key", "Access key."),
        _secret("s3_store_secret_key", "Secret key."),
        _text("s3_store_bucket", "Bucket of the images."),
        _switch("s3_store_create_bucket_on_put", "Make the bucket where it is missing."),
        _text("s3_store_bucket_url_format", "How buckets are addressed: auto, virtual or path.", "auto"),
        _number("s3_store_large_object_size", 100, "MiB from which data goes up in parts; 0: always.", min=0),
        _number("s3_store_large_object_chunk_size", 10, "MiB of one part, at least 5."),
        _number("s3_store_thread_pools", 10, "Parts of one upload at the same time."),
        _text("s3_store_cacert", "CA bundle; empty: the built-in one.", ""),
        _switch("s3_store_enable_data_integrity_protection", "Let the next two options take effect."),
        _text(
            "s3_store_request_checksum_calculation",
            "When uploads carry a checksum.",
            "when_required",
            choices=["when_required", "when_supported"],
        ),
        _text(
            "s3_store_response_checksum_validation",
            "When the checksum of a download is verified.",
            "when_required",
            choices=["when_required", "when_supported"],
        ),
    ],
    "swift": [
        _text("swift_store_config_file", "File with accounts, one section for each reference."),
        _text("default_swift_reference", "Section of that file for new data.", "ref1"),
        _text("swift_store_auth_address", "Keystone's URL, where there is no such file."),
        _text(
            "swift_store_auth_version",
            "How to log in: 3 and 2 are the APIs of Keystone, 1 is the own one of Swift.",
            "3",
            choices=["1", "2", "3"],
        ),
        _secret("swift_store_user", "`project:user` of the account."),
        _secret("swift_store_key", "Password of the account."),
        _secret("swift_store_application_credential_id", "Application credential instead of user and password."),
        _secret("swift_store_application_credential_secret", "Its secret."),
        _text("swift_store_project_id", "Id of the account's project."),
        _text("swift_store_project_name", "Name of the account's project."),
        _switch("swift_store_auth_insecure", "Do not verify certificates."),
        _text("swift_store_cacert", "CA bundle."),
        _text("swift_store_region", "Region in the catalogue."),
        _text("swift_store_endpoint", "Storage URL instead of the catalogue's."),
        _text(
            "swift_store_endpoint_type",
            "Interface in the catalogue.",
            "publicURL",
            choices=["publicURL", "adminURL", "internalURL"],
        ),
        _text("swift_store_service_type", "Service type in the catalogue.", "object-store"),
        _text("swift_store_container", "Container, or the first part of its name.", "glance"),
        _number(
            "swift_store_multiple_containers_seed",
            0,
            "Characters of the image id that become part of the container's name; 0: one container.",
            min=0,
            max=32,
        ),
        _switch("swift_store_create_container_on_put", "Make the container where it is missing."),
        _number("swift_store_large_object_size", 5120, "MB from which data goes up in segments.", min=1),
        _number("swift_store_large_object_chunk_size", 200, "MB of one segment.", min=1),
        _number("swift_store_retry_get_count", 0, "How often a broken download is resumed.", min=0),
        _number("swift_store_expire_soon_interval", 60, "Seconds before its end at which a token is renewed.", min=0),
        _switch("swift_buffer_on_upload", "Keep a segment on disk until it is stored, so that it can be repeated."),
        _text("swift_upload_buffer_dir", "Folder for those."),
        _switch("swift_store_multi_tenant", "Keep images in the accounts of their owners."),
        cfg.ListOpt("swift_store_admin_tenants", default=[], help="Projects that may write in all of those."),
        _switch("swift_store_use_trusts", "Use a trust for long transfers to those.", True),
        _switch("swift_store_ssl_compression", "Compress TLS.", True),
    ],
    "vmware": [
        cfg.HostAddressOpt("vmware_server_host", help="Address of ESXi or vCenter."),
        _text("vmware_server_username", "User."),
        _secret("vmware_server_password", "Password."),
        cfg.MultiStrOpt("vmware_datastores", help="Each `datacenter:datastore` or with `:weight`; repeatable."),
        _text("vmware_store_image_dir", "Folder in the datastore.", "/openstack_glance"),
        _number("vmware_api_retry_count", 10, "How often a call is repeated.", min=1),
        _number("vmware_task_poll_interval", 5, "Seconds between looks at a running task.", min=1),
        _text("vmware_ca_file", "CA bundle."),
        _switch(
            "vmware_insecure",
            "Do not verify certificates (without effect where a CA bundle is set).",
            deprecated_name="vmware_api_insecure",
        ),
    ],
    "cinder": [
        _text("cinder_catalog_info", "type:name:interface in the catalogue.", "volumev3::publicURL"),
        _text("cinder_endpoint_template", "URL instead of the catalogue's, with %(tenant)s."),
        _text("cinder_os_region_name", "Region in the catalogue.", deprecated_name="os_region_name"),
        _text("cinder_ca_certificates_file", "CA bundle."),
        _switch("cinder_api_insecure", "Do not verify certificates."),
        _number("cinder_http_retries", 3, "How often a call is repeated.", min=0),
        _number("cinder_state_transition_timeout", 300, "Seconds to wait for the state of a volume.", min=0),
        _text("cinder_store_auth_address", "Keystone's URL for an account that owns all volumes."),
        _text("cinder_store_user_name", "User of that account."),
        _text("cinder_store_user_domain_name", "Domain of that user.", "Default"),
        _secret("cinder_store_password", "Password of that user."),
        _text("cinder_store_application_credential_id", "Application credential instead of user and password."),
        _secret("cinder_store_application_credential_secret", "Its secret."),
        _text("cinder_store_project_name", "Project of that account."),
        _text("cinder_store_project_domain_name", "Domain of that project.", "Default"),
        _text("rootwrap_config", "Configuration of rootwrap.", "/etc/glance/rootwrap.conf"),
        _text("cinder_volume_type", "Type of new volumes."),
        _switch("cinder_use_multipath", "Attach by several paths."),
        _switch("cinder_enforce_multipath", "Fail where there are not several paths."),
        _text("cinder_mount_point_base", "Folder for NFS mounts.", "/var/lib/glance/mnt"),
        _switch("cinder_do_extend_attached", "Extend volumes while they are attached."),
        _number("cinder_attachment_retry_attempts", 5, "How often attaching is tried.", min=1),
    ],
    "sheepdog": [
        _number("sheepdog_store_chunk_size", 64, "MiB read and written at a time."),
        cfg.PortOpt("sheepdog_store_port", default=7000, help="Port of the gateway."),
        cfg.HostAddressOpt("sheepdog_store_address", default="127.0.0.1", help="Address of the gateway."),
    ],
    "gridfs": [
        cfg.Opt("mongodb_store_uri", type=types.String(), secret=True, help="MongoDB's URI, or a host name."),
        _text("mongodb_store_db", "Database."),
    ],
}

NO_EFFECT: dict[str, frozenset[str]] = {
    "swift": frozenset({"swift_store_ssl_compression"}),
    "file": frozenset({"filesystem_store_chunk_size"}),
    "cinder": frozenset({"cinder_do_extend_attached", "rootwrap_config"}),
}
"""Type -> options that are checked, and have no effect."""

RETIRED: dict[str, frozenset[str]] = {
    "s3": frozenset(
        {
            "s3_store_object_buffer_dir",
            "s3_store_enable_proxy",
            "s3_store_proxy_host",
            "s3_store_proxy_port",
            "s3_store_proxy_user",
            "s3_store_proxy_password",
        }
    ),
}
"""Type -> options of old releases that Glance itself has no more."""

ALL_NAMES: dict[str, str] = {option.dest: kind for kind, options in DRIVER_OPTIONS.items() for option in options}
"""Name of an option -> the type of store that has it."""


def defaults(kind: str) -> dict[str, Any]:
    """The options of a type at their defaults."""
    return {option.dest: option.default for option in DRIVER_OPTIONS[kind]}
