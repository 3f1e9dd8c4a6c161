# memcached, for the token cache of keystonemiddleware.
# shellcheck shell=bash

memcached_packages() {
    echo memcached
}

memcached_up() {
    service memcached
    choose_port memcached
    as_nobody "$S/run"
    start memcached "${AS[@]}" memcached -l "$HOST" -p "$PORT" -U 0 -m 64 -t 2
    ready memcached memcached_listens
    echo "export FANLIGHT_TEST_MEMCACHED=$HOST:$PORT" >"$STATE/env.memcached"
}

memcached_listens() {
    ! port_is_free "$PORT"
}

memcached_down() {
    service memcached
    stop memcached
}
