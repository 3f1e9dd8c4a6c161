# PostgreSQL, in which the user `os` (password `os`) may do everything.
# shellcheck shell=bash

postgresql_packages() {
    echo postgresql
}

postgresql_up() {
    service postgresql
    choose_port postgresql
    as_nobody "$S/run"
    local programs flush=off
    programs=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
    [ -n "$programs" ] || die "PostgreSQL is not installed where Debian puts it"
    [ -z "${FANLIGHT_DURABLE:-}" ] || flush=on
    if [ ! -e "$S/made" ]; then
        rm -rf "$S/data"
        mkdir "$S/data"
        as_nobody "$S/data"
        echo os >"$S/password"
        "${AS[@]}" "$programs/initdb" -D "$S/data" -U os --pwfile="$S/password" -A scram-sha-256 -E UTF8 \
            --locale=C.UTF-8 -N >"$S/made.log" 2>&1 ||
            { tail -5 "$S/made.log" >&2; die "PostgreSQL's files could not be made"; }
        touch "$S/made"
    fi
    start postgresql "${AS[@]}" "$programs/postgres" -D "$S/data" -h "$HOST" -p "$PORT" -k "$S/run" \
        -c max_connections=300 -c shared_buffers=64MB -c fsync=$flush -c synchronous_commit=$flush \
        -c full_page_writes=$flush
    # The port is open before it answers.
    ready postgresql env PGPASSWORD=os "$programs/psql" -q -h "$HOST" -p "$PORT" -U os -d postgres -c 'SELECT 1'
    echo "export FANLIGHT_TEST_POSTGRESQL=postgresql+psycopg://os:os@$HOST:$PORT/" >"$STATE/env.postgresql"
}

postgresql_down() {
    service postgresql
    stop postgresql INT # TERM would wait for its clients
}
