# The real Glance: a virtual environment from which tests start one of their own.
# shellcheck shell=bash

# A compiler for uWSGI, which runs Glance; qemu-img makes the disks that clients upload.
glance_packages() {
    [ -n "${FANLIGHT_TEST_GLANCE:-}" ] || printf '%s\n' gcc libc6-dev python3-dev
    echo qemu-utils
}

glance_environment() {
    [ -z "${FANLIGHT_TEST_GLANCE:-}" ] || return 0
    environment "$VENVS/glance" "$SCRIPTS/constraints-glance.txt" glance glance-store pymysql python-memcached uwsgi
}

glance_up() {
    echo "export FANLIGHT_TEST_GLANCE=${FANLIGHT_TEST_GLANCE:-$VENVS/glance}" >"$STATE/env.glance"
}

glance_down() {
    true
}
