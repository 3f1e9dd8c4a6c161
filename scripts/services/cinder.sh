# Cinder: API, scheduler and volume service with two back ends: `ceph` on the Ceph of the test bed, and `nfs`.
# shellcheck shell=bash
#
# The NFS back end is Cinder's own driver and os-brick's own connector; only the mount command is a stand-in (a bind
# mount) where the machine has none, because kernels of small virtual machines know no NFS.

CINDER_MOUNT=/sbin/mount.nfs

cinder_packages() {
    printf '%s\n' curl python3-rbd python3-rados ceph-common qemu-utils
}

cinder_environment() {
    environment "$VENVS/cinder" "$SCRIPTS/constraints-cinder.txt" \
        cinder python-cinderclient python-keystoneclient os-brick gunicorn pymysql
    ceph_bindings "$VENVS/cinder"
}

cinder_up() {
    service cinder
    local programs=$VENVS/cinder/bin keystone broker cluster
    keystone=$(cinder_needs keystone FANLIGHT_TEST_KEYSTONE)
    broker=$(cinder_needs rabbitmq FANLIGHT_TEST_RABBITMQ)
    [ -s "$STATE/env.ceph" ] || die "cinder needs ceph: scripts/bed up ceph cinder"
    cluster=$(cinder_cluster)
    mkdir -p "$S"/{state,locks,nfs,mnt,img,bin} /etc/ceph
    # The one place where os-brick looks for a key: the name of the cluster keeps two beds apart.
    sed -n '/^\[client.cinder\]/,/key/p' "$STATE/ceph/keyring" >"/etc/ceph/$cluster.client.cinder.keyring"
    cinder_mount
    # As root nobody needs sudo, and the real one would hide the virtual environment's programs.
    # shellcheck disable=SC2016 # for the script
    printf '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n' >"$S/bin/sudo"
    chmod 755 "$S/bin/sudo"
    choose_port api
    cinder_configured "$keystone" "$broker" "$cluster"
    if [ ! -e "$S/made" ]; then
        "$programs/cinder-manage" --config-file "$S/cinder.conf" db sync >"$S/made.log" 2>&1 ||
            { tail -5 "$S/made.log" >&2; die "Cinder's database could not be made"; }
        touch "$S/made"
    fi
    (
        export PATH=$S/bin:$programs:$PATH PYTHONPATH=$S
        GUNICORN_CMD_ARGS="-c $S/gunicorn.conf.py" start api "$programs/gunicorn"
        start scheduler "$programs/cinder-scheduler" --config-file "$S/cinder.conf"
        start volume "$programs/cinder-volume" --config-file "$S/cinder.conf"
    )
    ready api curl -s -o /dev/null -m 5 "http://$HOST:$PORT/"
    "$programs/python" "$SCRIPTS/services/cinder_types.py" "$keystone" "http://$HOST:$PORT/v3"
    cat >"$STATE/env.cinder" <<END
export FANLIGHT_TEST_CINDER=http://$HOST:$PORT/v3
export FANLIGHT_TEST_CINDER_PATH=$S/bin
export FANLIGHT_TEST_CINDER_NFS=$S/nfs
END
}

# cinder_needs NAME VARIABLE: the value that another server of the bed exports.
cinder_needs() {
    [ -s "$STATE/env.$1" ] || die "cinder needs $1: scripts/bed up $1 cinder"
    sed -n "s/^export $2=//p" "$STATE/env.$1"
}

cinder_cluster() {
    echo "fanlight-$(basename "$STATE" | tr -dc 'A-Za-z0-9')"
}

# Every bed on this machine that uses the stand-in has a line at its end.
cinder_mount() {
    if [ ! -e $CINDER_MOUNT ]; then
        cat >$CINDER_MOUNT <<'END'
#!/bin/sh
# A stand-in for test beds: mounts the folder of a share of this machine in place of the share.
case $1 in *:/*) exec mount --bind "${1#*:}" "$2" ;; *) exit 32 ;; esac
# Used by:
END
        chmod 755 $CINDER_MOUNT
    fi
    ! grep -q 'A stand-in for test beds' $CINDER_MOUNT || grep -qxF "# $STATE" $CINDER_MOUNT || echo "# $STATE" >>$CINDER_MOUNT
}

cinder_unmount() {
    local other
    grep -qs 'A stand-in for test beds' $CINDER_MOUNT || return 0
    sed -i "\\|^# $STATE\$|d" $CINDER_MOUNT
    while read -r other; do
        [ ! -d "${other#\# }" ] || return 0
    done < <(grep '^# /' $CINDER_MOUNT)
    rm -f $CINDER_MOUNT
}

# cinder_configured KEYSTONE BROKER CLUSTER
cinder_configured() {
    local etc=$VENVS/cinder/etc/cinder
    sed "s#^filters_path=.*#filters_path=$etc/rootwrap.d#
        s#^exec_dirs=.*#exec_dirs=$VENVS/cinder/bin,/sbin,/usr/sbin,/bin,/usr/bin#" "$etc/rootwrap.conf" >"$S/rootwrap.conf"
    echo "$HOST:$S/nfs" >"$S/nfs_shares"
    cat >"$S/cinder.conf" <<END
[DEFAULT]
use_stderr = true
my_ip = $HOST
host = bed
api_paste_config = $etc/api-paste.ini
resource_query_filters_file = $etc/resource_filters.json
rootwrap_config = $S/rootwrap.conf
auth_strategy = keystone
transport_url = $2
state_path = $S/state
image_conversion_dir = $S/img
enabled_backends = ceph,nfs
default_volume_type = ceph
periodic_interval = 20
report_interval = 5
service_down_time = 60
enable_force_upload = true
quota_volumes = -1
quota_gigabytes = 1000
[database]
connection = $(cinder_database)
[oslo_concurrency]
lock_path = $S/locks
[coordination]
backend_url = file://$S/state
[oslo_messaging_rabbit]
rabbit_quorum_queue = false
heartbeat_timeout_threshold = 0
[ceph]
volume_backend_name = ceph
volume_driver = cinder.volume.drivers.rbd.RBDDriver
rbd_ceph_conf = $STATE/ceph/ceph.conf
rbd_cluster_name = $3
rbd_user = cinder
rbd_pool = volumes
rbd_secret_uuid = 457eb676-33da-42ec-9a8c-9293d545c337
rados_connect_timeout = 10
rbd_exclusive_cinder_pool = true
[nfs]
volume_backend_name = nfs
volume_driver = cinder.volume.drivers.nfs.NfsDriver
nfs_shares_config = $S/nfs_shares
nfs_mount_point_base = $S/mnt
nas_secure_file_operations = false
nas_secure_file_permissions = false
nfs_sparsed_volumes = true
nfs_snapshot_support = true
[keystone_authtoken]
www_authenticate_uri = $1
auth_url = $1
auth_type = password
username = cinder
password = cinder
project_name = service
user_domain_id = default
project_domain_id = default
service_token_roles_required = true
[privsep_osbrick]
helper_command = $VENVS/cinder/bin/privsep-helper --config-file $S/cinder.conf
[cinder_sys_admin]
helper_command = $VENVS/cinder/bin/privsep-helper --config-file $S/cinder.conf
END
    cat >"$S/gunicorn.conf.py" <<END
bind = "$HOST:$PORT"
wsgi_app = "cinder_app:application"
worker_class = "gthread"
threads = 4
timeout = 120
graceful_timeout = 2
control_socket_disable = True
END
    cat >"$S/cinder_app.py" <<END
import sys

sys.argv = ["cinder-api", "--config-file", "$S/cinder.conf"]
from cinder.wsgi.wsgi import initialize_application

application = initialize_application()
END
}

# Several tests at once make and delete volumes, and SQLite takes one writer: MariaDB where the bed has it.
cinder_database() {
    local url
    if [ -s "$STATE/env.mariadb" ]; then
        url=$(sed -n 's/^export FANLIGHT_TEST_MARIADB=//p' "$STATE/env.mariadb")
        mariadb --no-defaults -u root -S "$STATE/mariadb/run/s" \
            -e 'CREATE DATABASE IF NOT EXISTS cinder CHARACTER SET utf8mb3' >&2
        echo "${url}cinder?charset=utf8"
    else
        echo "sqlite:///$S/cinder.db"
    fi
}

cinder_down() {
    service cinder
    local mount
    stop volume
    stop scheduler
    stop api
    # What Cinder and os-brick mounted for volumes below our folder.
    awk -v below="$STATE/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" || true; done
    rm -f "/etc/ceph/$(cinder_cluster).client.cinder.keyring"
    cinder_unmount
}
