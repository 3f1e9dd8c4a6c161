# GridFS: with MONGODB_URI a real MongoDB that runs already (for some tests with --setParameter enableTestCommands=1);
# else a small server of MongoDB's protocol, because neither Debian nor PyPI has the real one.
# shellcheck shell=bash

gridfs_packages() {
    true
}

# Only for `bson`, the encoding of the protocol.
gridfs_environment() {
    [ -n "${MONGODB_URI:-}" ] || environment "$VENVS/gridfs" "$ROOT/constraints.txt" pymongo
}

gridfs_up() {
    service gridfs
    local uri=${MONGODB_URI:-}
    if [ -z "$uri" ]; then
        choose_port gridfs
        start gridfs "$VENVS/gridfs/bin/python" -I "$ROOT/tests/bed/mongowire.py" "$PORT"
        ready gridfs gridfs_listens
        uri=mongodb://$HOST:$PORT
    fi
    printf 'export FANLIGHT_TEST_MONGODB=%q\n' "$uri" >"$STATE/env.gridfs"
}

gridfs_listens() {
    ! port_is_free "$PORT"
}

gridfs_down() {
    service gridfs
    stop gridfs
}
