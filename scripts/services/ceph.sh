# Ceph: one monitor, one OSD, one manager, and a gateway (RGW) that speaks S3 and Swift.
# shellcheck shell=bash
#
# FANLIGHT_CEPH_STORE=memstore   keeps the data in memory, for figures without the disk

# libnss-myhostname: bucket.s3.localhost resolves to loopback, without which nothing tests virtual-hosted addresses.
ceph_packages() {
    printf '%s\n' ceph-mon ceph-osd ceph-mgr ceph-common radosgw python3-rbd python3-rados libnss-myhostname
}

# PyPI has no librbd: the two modules that Debian built go where the tests and the real Glance look for modules.
ceph_environment() {
    local folder
    for folder in "$ROOT/.venv" "${FANLIGHT_TEST_GLANCE:-$VENVS/glance}"; do
        ceph_bindings "$folder"
    done
}

# ceph_bindings FOLDER: links Debian's rados and rbd into a virtual environment, if its Python can load them.
ceph_bindings() {
    local place file
    [ -x "$1/bin/python" ] || return 0
    place=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    for file in /usr/lib/python3/dist-packages/{rados,rbd}.*.so; do
        ln -sf "$file" "$place/"
    done
    "$1/bin/python" -c 'import rados, rbd' 2>/dev/null ||
        echo "the Python of $1 cannot load Debian's rados and rbd: tests of RBD will fail" >&2
}

ceph_up() {
    service ceph
    # Once more: on a new machine Glance's environment was being made at the same time.
    ceph_environment
    mkdir -p "$S"/{mon,osd,mgr,rgw}
    local conf=$S/ceph.conf mon rgw
    choose_port mon && mon=$PORT
    choose_port rgw && rgw=$PORT
    export CEPH_CONF=$conf CEPH_ARGS=
    # The cluster's map holds the monitor's address: made again when the port had to change.
    if [ "$(cat "$S/made" 2>/dev/null)" != "$mon" ]; then
        ceph_made "$mon" >"$S/made.log" 2>&1 || { tail -5 "$S/made.log" >&2; die "Ceph could not be made"; }
    fi
    start mon ceph-mon -c "$conf" -i a -f
    ready mon port_is_taken "$mon"
    [ -e "$S/osd/keyring" ] || ceph_joined >>"$S/made.log" 2>&1 ||
        { tail -5 "$S/made.log" >&2; die "Ceph's OSD could not be made"; }
    start osd ceph-osd -c "$conf" -i 0 -f --keyring "$S/osd/keyring"
    start mgr ceph-mgr -c "$conf" -i x -f --keyring "$S/mgr/keyring"
    if [ "$(cat "$S/made" 2>/dev/null)" != "$mon" ]; then
        /usr/bin/python3 "$SCRIPTS/services/ceph_pools.py" "$conf" "$S/keyring" >>"$S/made.log" 2>&1 ||
            { tail -5 "$S/made.log" >&2; die "Ceph's pools and users could not be made"; }
        echo "$mon" >"$S/made"
    fi
    ceph_gateway "$rgw"
    ceph_exports "$rgw" >"$STATE/env.ceph"
}

port_is_taken() {
    ! port_is_free "$1"
}

# The gateway, asked for itself and for Keystone where there is one.
ceph_gateway() {
    local url='' keystone=()
    [ ! -e "$STATE/env.keystone" ] || url=$(sed -n 's/^export FANLIGHT_TEST_KEYSTONE=//p' "$STATE/env.keystone")
    # Its own users first, or every S3 request would go to Keystone before.
    [ -z "$url" ] || keystone=(
        --rgw-keystone-url="${url%/v3}" --rgw-keystone-api-version=3
        --rgw-keystone-admin-user=swift --rgw-keystone-admin-password=swift
        --rgw-keystone-admin-project=service --rgw-keystone-admin-domain=Default
        --rgw-keystone-accepted-roles=admin,member
        --rgw-s3-auth-use-keystone=true --rgw-s3-auth-order="local, external"
    )
    start rgw radosgw -c "$CEPH_CONF" -n client.rgw -f --rgw-frontends="beast endpoint=$HOST:$1" "${keystone[@]}"
    ready rgw curl -s -o /dev/null -m 5 "http://$HOST:$1/"
    [ ! -e "$S/users" ] || return 0
    {
        radosgw-admin -n client.rgw user create --uid test --display-name Test \
            --access-key testaccess --secret-key testsecret
        radosgw-admin -n client.rgw subuser create --uid test --subuser test:tester --access full \
            --key-type swift --secret testing
    } >>"$S/made.log" 2>&1 || { tail -5 "$S/made.log" >&2; die "the gateway's users could not be made"; }
    touch "$S/users"
}

ceph_exports() {
    cat <<END
export FANLIGHT_TEST_CEPH_CONF=$S/ceph.conf
export FANLIGHT_TEST_CEPH_POOL=images
export FANLIGHT_TEST_CEPH_USER=glance
export FANLIGHT_TEST_CEPH_VOLUMES_POOL=volumes
export FANLIGHT_TEST_CEPH_VOLUMES_USER=cinder
export FANLIGHT_TEST_RGW=http://$HOST:$1
export FANLIGHT_TEST_RGW_ACCESS_KEY=testaccess
export FANLIGHT_TEST_RGW_SECRET_KEY=testsecret
export FANLIGHT_TEST_RGW_HOST_NAME=s3.localhost
export FANLIGHT_TEST_RGW_SWIFT_AUTH=http://$HOST:$1/auth/v1.0
export FANLIGHT_TEST_RGW_SWIFT_USER=test:tester
export FANLIGHT_TEST_RGW_SWIFT_KEY=testing
END
}

# ceph_made PORT: configuration, keys and the monitor's database.
ceph_made() {
    local mon=$1 fsid ring=$S/keyring
    stop osd && stop mgr && stop rgw && stop mon
    rm -rf "$S"/{mon,osd,mgr,rgw}/* "$S/users" "$S/made"
    fsid=$(cat /proc/sys/kernel/random/uuid)
    choose_port osd
    ceph_configured "$fsid" "$mon" "$PORT"
    ceph-authtool --create-keyring "$ring" --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' &&
        ceph-authtool --create-keyring "$S/mon.keyring" --gen-key -n mon. --cap mon 'allow *' &&
        ceph-authtool "$S/mon.keyring" --import-keyring "$ring" &&
        monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:$HOST:$mon]" "$S/monmap" &&
        ceph-mon -c "$CEPH_CONF" --mkfs -i a --monmap "$S/monmap" --keyring "$S/mon.keyring" &&
        cp "$S/mon.keyring" "$S/mon/keyring"
}

# ceph_configured FSID MON-PORT PORT: daemons take their ports from PORT on. One copy of everything, and no warnings
# about it; paxos_propose_interval and the small caches are for a machine that does more than this. The gateway would keep
# what was deleted for two hours, and fill the store.
ceph_configured() {
    cat >"$CEPH_CONF" <<END
[global]
fsid = $1
mon_host = v2:$HOST:$2
public_addr = $HOST
cluster_addr = $HOST
ms_bind_msgr1 = false
ms_bind_port_min = $3
ms_bind_port_max = $(($3 + 99))
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
keyring = $S/keyring
run_dir = $S/run
admin_socket = $S/run/\$name.\$pid.asok
pid_file =
log_file = $S/\$name.log
mon_cluster_log_file = $S/cluster.log
crash_dir = $S/run
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 5000
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 1
mon_data_avail_warn = 2
mon_osd_full_ratio = 0.97
mon_osd_min_up_ratio = 0
paxos_propose_interval = 0.05
[mon]
mon_data = $S/mon
mon_initial_members = a
[mgr]
mgr_data = $S/mgr
mgr_initial_modules =
[osd]
osd_data = $S/osd
osd_objectstore = ${FANLIGHT_CEPH_STORE:-bluestore}
osd_memory_target = 939524096
osd_op_num_shards = 2
bluestore_block_size = 17179869184
bluestore_block_db_size = 0
bluestore_block_wal_size = 0
bluestore_cache_autotune = false
bluestore_cache_size = 134217728
memstore_device_bytes = 17179869184
[client]
log_to_stderr = false
err_to_stderr = false
log_file =
[client.rgw]
rgw_data = $S/rgw
rgw_dns_name = s3.localhost
rgw_swift_account_in_url = true
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_enable_lc_threads = false
rgw_thread_pool_size = 32
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
rgw_gc_processor_max_time = 5
END
}

# The keys of the OSD and of the manager, and the OSD's own store.
ceph_joined() {
    local key uuid
    key=$(ceph-authtool --gen-print-key)
    uuid=$(cat /proc/sys/kernel/random/uuid)
    echo "{\"cephx_secret\": \"$key\"}" | timeout 60 ceph osd new "$uuid" -i - &&
        timeout 60 ceph auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' \
            -o "$S/mgr/keyring" &&
        ceph-authtool --create-keyring "$S/osd/keyring.new" -n osd.0 --add-key "$key" &&
        ceph-osd -c "$CEPH_CONF" -i 0 --mkfs --osd-uuid "$uuid" --keyring "$S/osd/keyring.new" &&
        mv "$S/osd/keyring.new" "$S/osd/keyring"
}

ceph_down() {
    service ceph
    stop rgw
    stop mgr
    stop osd
    stop mon
}
