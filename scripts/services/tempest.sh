# Tempest, OpenStack's own suite of tests over HTTP: a virtual environment from which a test runs its image tests.
# shellcheck shell=bash

tempest_packages() {
    true
}

tempest_environment() {
    environment "$VENVS/tempest" "$SCRIPTS/constraints-tempest.txt" tempest
}

tempest_up() {
    echo "export FANLIGHT_TEST_TEMPEST=$VENVS/tempest" >"$STATE/env.tempest"
}

tempest_down() {
    true
}
