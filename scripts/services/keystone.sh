# Keystone on SQLite, with the users that keystone_users.py lists.
# shellcheck shell=bash

keystone_packages() {
    true
}

keystone_environment() {
    environment "$VENVS/keystone" "$SCRIPTS/constraints-keystone.txt" \
        keystone gunicorn python-memcached pymysql python-keystoneclient
}

keystone_up() {
    service keystone
    choose_port keystone
    local programs=$VENVS/keystone/bin url=http://$HOST:$PORT/v3
    # The catalogue of services holds the URL: made again when the port had to change.
    if [ "$(cat "$S/made" 2>/dev/null)" != "$url" ]; then
        keystone_configured
        keystone_made "$url" >"$S/made.log" 2>&1 ||
            { tail -5 "$S/made.log" >&2; die "Keystone's database could not be made"; }
    fi
    # Keystone reads sys.argv itself, so gunicorn's options come from a file. One worker with one thread: SQLite
    # takes one writer, and a second worker would not hear of a revoked token that it has in its own memory.
    cat >"$S/gunicorn.conf.py" <<END
bind = "$HOST:$PORT"
wsgi_app = "keystone.wsgi.api:application"
worker_class = "gthread"
threads = 1
timeout = 120
graceful_timeout = 2
control_socket_disable = True
END
    OS_KEYSTONE_CONFIG_FILES=$S/keystone.conf GUNICORN_CMD_ARGS="-c $S/gunicorn.conf.py" \
        start keystone "$programs/gunicorn"
    ready keystone "$programs/python" -c "import urllib.request as r; r.urlopen('$url', timeout=5)"
    if [ "$(cat "$S/made" 2>/dev/null)" != "$url" ]; then
        "$programs/python" "$SCRIPTS/services/keystone_users.py" "$url"
        echo "$url" >"$S/made"
    fi
    echo "export FANLIGHT_TEST_KEYSTONE=$url" >"$STATE/env.keystone"
}

keystone_configured() {
    # password_hash_rounds: logins are what the tests do most, and the default is made to be slow.
    cat >"$S/keystone.conf" <<END
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///$S/keystone.db
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = $S/fernet
[credential]
key_repository = $S/credential
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
END
}

keystone_made() {
    local manage=("$VENVS/keystone/bin/keystone-manage" --config-file "$S/keystone.conf")
    local owner=(--keystone-user "$(id -un)" --keystone-group "$(id -gn)")
    "${manage[@]}" db_sync &&
        "${manage[@]}" fernet_setup "${owner[@]}" &&
        "${manage[@]}" credential_setup "${owner[@]}" &&
        "${manage[@]}" bootstrap --bootstrap-password secret --bootstrap-region-id RegionOne \
            --bootstrap-public-url "$1" --bootstrap-internal-url "$1" --bootstrap-admin-url "$1"
}

keystone_down() {
    service keystone
    stop keystone
}
