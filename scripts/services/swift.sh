# OpenStack Swift with its S3 API: one disk, one proxy for accounts of its own (auth version 1), one for Keystone's,
# and one for both that takes no object of more than 4 MiB.
# shellcheck shell=bash

swift_packages() {
    echo memcached
}

# glance_store: the tests let Glance's own driver read what ours wrote, and the other way round.
swift_environment() {
    environment "$VENVS/swift" "$SCRIPTS/constraints-swift.txt" \
        swift keystonemiddleware python-swiftclient python-keystoneclient glance-store
}

swift_up() {
    service swift
    [ -s "$STATE/env.keystone" ] || die "swift needs keystone: scripts/bed up keystone swift"
    local programs=$VENVS/swift/bin conf=$S/conf keystone kind port
    keystone=$(sed -n 's/^export FANLIGHT_TEST_KEYSTONE=//p' "$STATE/env.keystone")
    mkdir -p "$conf" "$S/srv/d1"
    swift_configured_together
    # memcached: tokens of the first proxy live there, so it must not be one that tests empty.
    choose_port memcached
    start memcached memcached $([ "$(id -u)" != 0 ] || echo -u root) -l "$HOST" -p "$PORT" -U 0 -m 32 -t 1
    local cache=$HOST:$PORT
    for kind in account container object; do
        choose_port "$kind"
        swift_storage "$kind" "$PORT"
        SWIFT_CONF_DIR=$conf PYTHONPATH=$conf start "$kind" "$programs/swift-$kind-server" "$conf/$kind.conf" -v
    done
    for kind in proxy proxy-v3 proxy-small; do
        choose_port "$kind"
        swift_proxy "$kind" "$PORT" "$cache" "$keystone" >"$conf/$kind.conf"
        SWIFT_CONF_DIR=$conf$([ "$kind" != proxy-small ] || echo /small) PYTHONPATH=$conf \
            start "$kind" "$programs/swift-proxy-server" "$conf/$kind.conf" -v
    done
    for kind in account container object proxy proxy-v3 proxy-small; do
        port=$(cat "$S/$kind.port")
        ready "$kind" "$programs/python" -c \
            "import urllib.request as r; r.urlopen('http://$HOST:$port/healthcheck', timeout=5)"
    done
    swift_environment_of_tests "$keystone" "$cache"
}

# What all servers read. [swift-constraints] is read at import, and only from /etc/swift, unless somebody names another
# folder before that: Python imports sitecustomize first.
swift_configured_together() {
    mkdir -p "$S/conf/small"
    cat >"$S/conf/swift.conf" <<END
[swift-hash]
swift_hash_path_suffix = fanlight
[storage-policy:0]
name = Policy-0
default = yes
END
    { cat "$S/conf/swift.conf"; printf '[swift-constraints]\nmax_file_size = 4194304\n'; } >"$S/conf/small/swift.conf"
    cat >"$S/conf/sitecustomize.py" <<END
import os

if os.environ.get("SWIFT_CONF_DIR"):
    from swift.common import utils

    utils.set_swift_dir(os.environ["SWIFT_CONF_DIR"])
END
}

# log_address: a socket that does not exist, or the servers look for the system's log instead of their standard error.
swift_common() {
    cat <<END
[DEFAULT]
bind_ip = $HOST
bind_port = $1
swift_dir = $S/conf
devices = $S/srv
mount_check = false
disable_fallocate = true
user = $(id -un)
workers = 0
client_timeout = 10
log_level = WARNING
log_address = $S/no-syslog
END
}

# swift_storage KIND PORT: the configuration of one of the three, and the ring that says where it is.
swift_storage() {
    {
        swift_common "$2"
        cat <<END
[pipeline:main]
pipeline = healthcheck $1-server
[filter:healthcheck]
use = egg:swift#healthcheck
[app:$1-server]
use = egg:swift#$1
END
    } >"$S/conf/$1.conf"
    [ "$(cat "$S/$1.ring" 2>/dev/null)" != "$2" ] || return 0
    local builder="$VENVS/swift/bin/swift-ring-builder"
    (
        cd "$S/conf"
        rm -f "$1.builder" "$1.ring.gz"
        "$builder" "$1.builder" create 4 1 1
        "$builder" "$1.builder" add --region 1 --zone 1 --ip "$HOST" --port "$2" --device d1 --weight 1
        "$builder" "$1.builder" rebalance
    ) >>"$S/rings.log" 2>&1 || { tail -5 "$S/rings.log" >&2; die "the ring of $1 could not be made"; }
    echo "$2" >"$S/$1.ring"
}

# swift_proxy NAME PORT MEMCACHED KEYSTONE
swift_proxy() {
    local auth="s3api tempauth" name
    [ "$1" != proxy-v3 ] || auth="authtoken s3api s3token keystoneauth"
    [ "$1" != proxy-small ] || auth="authtoken keystoneauth tempauth"
    local before="catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl"
    local after="copy container_quotas account_quotas slo dlo versioned_writes symlink"
    swift_common "$2"
    cat <<END
[pipeline:main]
pipeline = $before $auth $after proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = $3
# From the eleventh segment of an object on, Swift would give one a second: those of the tests are tiny.
[filter:slo]
use = egg:swift#slo
min_segment_size = 1
rate_limit_after_segment = 100000
[filter:dlo]
use = egg:swift#dlo
rate_limit_after_segment = 100000
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
storage_domain = s3.localhost
min_segment_size = 5242880
END
    for name in catch_errors gatekeeper healthcheck listing_formats bulk tempurl copy container_quotas account_quotas \
        symlink; do
        printf '[filter:%s]\nuse = egg:swift#%s\n' $name $name
    done
    swift_own_users
    swift_users_of_keystone "$4"
}

swift_own_users() {
    cat <<END
[filter:tempauth]
use = egg:swift#tempauth
storage_url_scheme = http
user_admin_admin = admin .admin .reseller_admin
user_test_tester = testing .admin
user_test_reader = reading
user_test2_tester2 = testing2 .admin
END
}

swift_users_of_keystone() {
    local login="auth_url = $1
auth_type = password
username = swift
password = swift
project_name = service
user_domain_id = default
project_domain_id = default"
    cat <<END
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = $1
$login
delay_auth_decision = True
service_token_roles_required = True
cache = swift.cache
[filter:s3token]
use = egg:swift#s3token
reseller_prefix = KEY_
delay_auth_decision = true
auth_uri = $1
$login
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
reseller_prefix = KEY
END
}

# swift_environment_of_tests KEYSTONE MEMCACHED
swift_environment_of_tests() {
    local own keys
    own=http://$HOST:$(cat "$S/proxy.port")
    local v3
    v3=http://$HOST:$(cat "$S/proxy-v3.port")
    keys=$("$VENVS/swift/bin/python" "$SCRIPTS/services/swift_catalogue.py" "$1" "$v3")
    # SWIFT_V1: test:tester / testing, test2:tester2 / testing2, test:reader / reading (what ACLs give), admin:admin.
    # SWIFT_V3: the users of Keystone. SWIFT_MEMCACHED: where the tokens of SWIFT_V1 are, so that tests can end one.
    # SWIFT_SMALL: the proxy for small objects, of all these users.
    # SWIFT_PYTHON: has glance_store and its driver.
    cat >"$STATE/env.swift" <<END
export FANLIGHT_TEST_SWIFT_V1=$own/auth/v1.0
export FANLIGHT_TEST_SWIFT_V3=$v3
export FANLIGHT_TEST_SWIFT_SMALL=http://$HOST:$(cat "$S/proxy-small.port")
export FANLIGHT_TEST_SWIFT_MEMCACHED=$2
export FANLIGHT_TEST_SWIFT_PYTHON=$VENVS/swift/bin/python
export FANLIGHT_TEST_S3_SWIFT=$own
export FANLIGHT_TEST_S3_SWIFT_KEY=test:tester
export FANLIGHT_TEST_S3_SWIFT_SECRET=testing
export FANLIGHT_TEST_S3_SWIFT_V3=$v3
export FANLIGHT_TEST_S3_SWIFT_V3_KEY=${keys% *}
export FANLIGHT_TEST_S3_SWIFT_V3_SECRET=${keys#* }
END
}

swift_down() {
    service swift
    local kind
    for kind in proxy-small proxy-v3 proxy object container account memcached; do
        stop "$kind"
    done
}
