"""Options that Glance has or had, and that have no effect here: their use is named in a warning at start.

Names only. The list holds everything that Glance 33 and the libraries of its configuration file declare and that is
not in options.py, and names of older releases that files still carry. Names with `_` stand for those with `-`, too.
"""

from __future__ import annotations

NOT_HONOURED: dict[str, frozenset[str]] = {
    "DEFAULT": frozenset(
        (
            "admin_password admin_role admin_tenant_name admin_user allow_additional_image_properties "
            "allowed_rpc_exception_modules auth_region auth_strategy auth_url backdoor_port backlog ca_file "
            "cache_prefetcher_interval cert_file cleanup_scrubber cleanup_scrubber_time client_socket_timeout "
            "control_exchange daemon data_api db_enforce_mysql_charset default_log_levels default_publisher_id "
            "delayed_delete digest_algorithm disabled_notifications do_secure_hash enable_v1_api "
            "enable_v1_registry enable_v2_api enable_v2_registry enable_v3_api enabled_import_methods "
            "executor_thread_pool_size fatal_deprecations http_keepalive http_retries image_cache_dir "
            "image_cache_driver image_cache_invalid_entry_grace_period image_cache_max_size image_cache_sqlite_db "
            "image_cache_stall_time instance_format instance_uuid_format key_file "
            "known_stores location_strategy lock_path log_color log_config_append log_date_format log_format "
            "log_rotate_interval log_rotate_interval_type log_rotation_type logging_context_format_string "
            "logging_debug_format_suffix logging_default_format_string logging_exception_prefix "
            "logging_user_identity_format max_header_line max_logfile_count max_logfile_size_mb "
            "metadata_source_path node_staging_uri notification_driver "
            "notification_topics owner_is_tenant policy_default_rule policy_dirs policy_file prefetcher_pool_size "
            "property_protection_file property_protection_rule_format publish_errors pydev_worker_debug_host "
            "pydev_worker_debug_port rabbit_host rabbit_password rabbit_port rabbit_userid rate_limit_burst "
            "rate_limit_except_level rate_limit_interval registry_client_ca_file registry_client_cert_file "
            "registry_client_insecure registry_client_key_file registry_client_protocol registry_client_timeout "
            "registry_host registry_port restore rpc_backend rpc_ping_enabled rpc_response_timeout "
            "rpc_thread_pool_size scrub_pool_size scrub_time scrubber_datadir secure_proxy_ssl_header "
            "send_identity_headers sql_connection sql_idle_timeout syslog_log_facility tcp_keepidle transport_url "
            "use_journal use_keystone_limits use_stderr use_syslog use_syslog_rfc_format use_user_token verbose "
            "wakeup_time worker_self_reference_url "
        ).split()
    ),
    "barbican": frozenset(
        (
            "auth_endpoint barbican_api_version barbican_endpoint barbican_endpoint_type barbican_region_name "
            "cafile certfile collect_timing insecure keyfile number_of_retries retry_delay "
            "send_service_user_token split_loggers timeout tls_ciphers tls_min_version verify_ssl verify_ssl_path "
        ).split()
    ),
    "barbican_service_user": frozenset(
        (
            "auth_section auth_type cafile certfile collect_timing insecure keyfile split_loggers timeout "
            "tls_ciphers tls_min_version "
        ).split()
    ),
    "database": frozenset(
        (
            "asyncio_connection asyncio_slave_connection backend connection_debug connection_parameters "
            "connection_trace db_inc_retry_interval db_max_retries db_max_retry_interval db_retry_interval "
            "idle_timeout max_retries min_pool_size mysql_wsrep_sync_wait retry_interval slave_connection "
            "sql_connection sql_idle_timeout sqlite_synchronous synchronous_reader use_db_reconnect use_tpool "
        ).split()
    ),
    "glance_download_properties": frozenset("extra_properties".split()),
    "healthcheck": frozenset(
        (
            "allowed_source_ranges backends detailed disable_by_file_paths enable_by_file_paths "
            "ignore_proxied_requests "
        ).split()
    ),
    "image_conversion": frozenset("output_format".split()),
    "image_format": frozenset("vmdk_allowed_types".split()),
    "image_import_opts": frozenset("image_import_plugins max_parallel_stores".split()),
    "inject_metadata_properties": frozenset("ignore_user_roles inject".split()),
    "key_manager": frozenset(
        (
            "auth_type auth_url backend domain_id domain_name password project_domain_id project_domain_name "
            "project_id project_name reauthenticate token trust_id user_domain_id user_domain_name user_id "
            "username "
        ).split()
    ),
    "oslo_concurrency": frozenset("disable_process_locking lock_path".split()),
    "oslo_limit": frozenset(
        (
            "auth_url cafile certfile collect_timing connect_retries connect_retry_delay default_domain_id "
            "default_domain_name domain_id domain_name endpoint_id endpoint_interface endpoint_override "
            "endpoint_region_name endpoint_service_name endpoint_service_type insecure keyfile max_version "
            "min_version password project_domain_id project_domain_name project_id project_name region_name "
            "retriable_status_codes service_name service_type split_loggers status_code_retries "
            "status_code_retry_delay system_scope tenant_id tenant_name timeout tls_ciphers tls_min_version "
            "trust_id user_domain_id user_domain_name user_id username valid_interfaces version "
        ).split()
    ),
    "oslo_messaging_kafka": frozenset(
        (
            "compression_codec consumer_group enable_auto_commit kafka_consumer_timeout kafka_max_fetch_bytes "
            "max_poll_records producer_batch_size producer_batch_timeout sasl_mechanism security_protocol "
            "ssl_cafile ssl_client_cert_file ssl_client_key_file ssl_client_key_password "
        ).split()
    ),
    "oslo_messaging_notifications": frozenset("driver retry topics transport_url".split()),
    "oslo_messaging_rabbit": frozenset(
        (
            "amqp_auto_delete amqp_durable_queues conn_pool_min_size conn_pool_ttl direct_mandatory_flag "
            "enable_cancel_on_failover heartbeat_rate heartbeat_timeout_threshold hostname kombu_compression "
            "kombu_failover_strategy kombu_missing_consumer_retry_timeout kombu_reconnect_delay "
            "kombu_reconnect_splay processname rabbit_ha_queues rabbit_interval_max rabbit_login_method "
            "rabbit_qos_prefetch_count rabbit_quorum_delivery_limit rabbit_quorum_max_memory_bytes "
            "rabbit_quorum_max_memory_length rabbit_quorum_queue rabbit_retry_backoff rabbit_retry_interval "
            "rabbit_stream_fanout rabbit_transient_queues_ttl rabbit_transient_quorum_queue rpc_conn_pool_size "
            "ssl ssl_ca_file ssl_cert_file ssl_enforce_fips_mode ssl_enforce_hostname_verification ssl_key_file "
            "ssl_version use_queue_manager "
        ).split()
    ),
    "oslo_policy": frozenset("enforce_scope".split()),
    "oslo_reports": frozenset("file_event_handler file_event_handler_interval log_dir".split()),
    "profiler": frozenset(
        (
            "connection_string enabled es_doc_type es_scroll_size es_scroll_time filter_error_trace hmac_keys "
            "sentinel_service_name socket_timeout trace_requests trace_sqlalchemy "
        ).split()
    ),
    "profiler_jaeger": frozenset("process_tags service_name_prefix".split()),
    "profiler_otlp": frozenset("service_name_prefix".split()),
    "store_type_location_strategy": frozenset("store_type_preference".split()),
    "task": frozenset("eventlet_executor_pool_size task_executor task_time_to_live work_dir".split()),
    "taskflow_executor": frozenset("conversion_format engine_mode max_workers".split()),
    "vault": frozenset(
        (
            "approle_role_id approle_secret_id auth_method auth_path kv_mountpoint kv_path kv_version namespace "
            "root_token_id ssl_ca_crt_file timeout token_file token_role use_ssl vault_url "
        ).split()
    ),
    "wsgi": frozenset("python_interpreter task_pool_threads".split()),
}
"""Group -> names."""

INSTEAD: dict[tuple[str, str], str] = {
    ("DEFAULT", "admin_role"): "the policy rule context_is_admin says who is administrator",
    ("DEFAULT", "ca_file"): "let a proxy in front speak TLS",
    ("DEFAULT", "cert_file"): "let a proxy in front speak TLS",
    ("DEFAULT", "key_file"): "let a proxy in front speak TLS",
    ("DEFAULT", "client_socket_timeout"): "see [fanlight]body_seconds, answer_seconds and idle_seconds",
    ("DEFAULT", "http_keepalive"): "see [fanlight]idle_seconds",
    ("DEFAULT", "known_stores"): "see [DEFAULT]enabled_backends",
    ("DEFAULT", "location_strategy"): "see the option weight of each store",
    ("DEFAULT", "max_header_line"): "the limit is fixed",
    ("DEFAULT", "node_staging_uri"): "there is no import yet",
    ("DEFAULT", "enabled_import_methods"): "there is no import yet",
    ("DEFAULT", "image_cache_dir"): "there is no cache yet",
    ("DEFAULT", "delayed_delete"): "data is deleted at once",
    ("DEFAULT", "owner_is_tenant"): "the owner is always the project",
    ("DEFAULT", "policy_dirs"): "see [oslo_policy]policy_dirs",
    ("DEFAULT", "policy_file"): "see [oslo_policy]policy_file",
    ("DEFAULT", "policy_default_rule"): "see [oslo_policy]policy_default_rule",
    ("DEFAULT", "secure_proxy_ssl_header"): "see [oslo_middleware]enable_proxy_headers_parsing",
    ("DEFAULT", "sql_connection"): "see [database]connection",
    ("DEFAULT", "transport_url"): "there are no notifications yet",
    ("DEFAULT", "use_stderr"): "lines go to standard error where there is no log_file",
    ("DEFAULT", "verbose"): "see [DEFAULT]debug",
    ("database", "idle_timeout"): "see [database]connection_recycle_time",
    ("database", "sql_connection"): "see [database]connection",
    ("database", "sqlite_synchronous"): "every acknowledged write is durable",
    ("image_format", "vmdk_allowed_types"): "there is no conversion yet",
    ("oslo_policy", "enforce_scope"): "the scope of tokens is always enforced",
    ("store_type_location_strategy", "store_type_preference"): "see the option weight of each store",
    ("task", "work_dir"): "there are no tasks yet",
}
"""(Group, name) -> what holds or helps instead, where there is something to say."""
