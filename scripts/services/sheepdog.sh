# Sheepdog: with SHEEPDOG_SRC (a checkout of Sheepdog's source) the real daemon, built here; else a stand-in of its
# command `dog`. Debian has no package of it, and `dog` is all that the driver knows.
# shellcheck shell=bash

sheepdog_packages() {
    [ -z "${SHEEPDOG_SRC:-}" ] ||
        printf '%s\n' build-essential autoconf automake libtool pkg-config liburcu-dev yasm nasm
}

# One build for each state of the source: kept, because it takes most of a minute.
sheepdog_environment() {
    [ -n "${SHEEPDOG_SRC:-}" ] || return 0
    local build=$VENVS/sheepdog
    [ ! -x "$build/sheep/sheep" ] || return 0
    mkdir -p "$VENVS"
    rm -rf "$build"
    cp -r "$SHEEPDOG_SRC" "$build"
    echo "building Sheepdog"
    (
        cd "$build"
        ./autogen.sh
        ./configure --disable-corosync --disable-zookeeper --disable-shepherd CFLAGS="-g -O2 -fcommon -Wno-error"
        make -j2
    ) >"$build.log" 2>&1 || { tail -20 "$build.log" >&2; die "Sheepdog could not be built"; }
}

sheepdog_up() {
    service sheepdog
    choose_port sheepdog
    mkdir -p "$S/bin" "$S/store"
    if [ -n "${SHEEPDOG_SRC:-}" ]; then
        sheepdog_real
    else
        sheepdog_stand_in
    fi
    ln -sf dog "$S/bin/collie"
    cat >"$STATE/env.sheepdog" <<END
export FANLIGHT_TEST_DOG_PATH=$S/bin
export FANLIGHT_TEST_DOG_PORT=$PORT
END
}

sheepdog_stand_in() {
    local python
    find_python
    # Not a wrapper that looks for the right Python every time.
    python=$("$PYTHON" -c 'import sys; print(sys.executable)')
    # The link of a real daemon, from an earlier start, must not be written through.
    rm -f "$S/bin/dog"
    cat >"$S/bin/dog" <<END
#!/bin/sh
DOG_STATE=$S/vdi DOG_PORT=$PORT exec $python -I -S $ROOT/tests/bed/dog.py "\$@"
END
    chmod 755 "$S/bin/dog"
}

# One node that is a cluster by itself: no corosync, no zookeeper.
sheepdog_real() {
    local build=$VENVS/sheepdog
    ln -sf "$build/dog/dog" "$S/bin/dog"
    start sheepdog "$build/sheep/sheep" -f -c "local:$S/shm" -b "$HOST" -y "$HOST" -p "$PORT" -l dst=stdout "$S/store"
    ready sheepdog sheepdog_listens
    if [ ! -e "$S/formatted" ]; then
        "$S/bin/dog" cluster format -a "$HOST" -p "$PORT" -c 1 >>"$S/sheepdog.log" 2>&1
        touch "$S/formatted"
    fi
}

sheepdog_listens() {
    ! port_is_free "$PORT"
}

sheepdog_down() {
    service sheepdog
    stop sheepdog
}
