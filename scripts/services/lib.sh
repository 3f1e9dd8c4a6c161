# Sourced by the other scripts: Debian packages, virtual environments, ports, and processes that end when told.
# shellcheck shell=bash disable=SC2034
#
# STATE is the folder of everything that the servers write: short (socket paths end at 107 bytes), and open to
# `nobody`, because MariaDB and PostgreSQL refuse to run as root.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SCRIPTS=$ROOT/scripts
VENVS=${FANLIGHT_VENVS:-$ROOT/.state/venvs}
HOST=127.0.0.1

export DEBIAN_FRONTEND=noninteractive
export no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost
# Without compiled files on disk Keystone takes several times as long to start.
unset PYTHONDONTWRITEBYTECODE

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# -- what must be installed ----------------------------------------------------------------------------------------

# packages NAME...: installs the Debian packages that are missing. Starts none of the servers that they bring.
packages() {
    command -v dpkg-query >/dev/null || die "this needs Debian or Ubuntu; wanted are: $*"
    local missing=() name
    for name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "missing Debian packages. As root: apt-get install --no-install-recommends ${missing[*]}"
    echo "installing Debian packages: ${missing[*]}"
    with_servers_held_back install_packages "${missing[@]}"
}

install_packages() {
    local install=(apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -qq -y --no-install-recommends install "$@")
    "${install[@]}" >/dev/null 2>&1 || { apt-get -qq update && "${install[@]}" >/dev/null; }
}

# Debian starts a server as soon as it is installed, and makes a database for it, unless these two files say no.
with_servers_held_back() {
    local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.conf made=() status=0
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        made+=("$policy")
    fi
    if [ ! -e $cluster ]; then
        mkdir -p "$(dirname $cluster)"
        echo 'create_main_cluster = false' >$cluster
    fi
    "$@" || status=$?
    [ ${#made[@]} = 0 ] || rm -f "${made[@]}"
    return $status
}

# Sets PYTHON to a Python of at least 3.11 that can make virtual environments.
find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python3.14; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            PYTHON=$name
            "$name" -c 'import ensurepip, venv' 2>/dev/null || packages python3-venv
            return
        fi
    done
    [ -z "${PYTHON:-}" ] || die "$PYTHON is not Python 3.11 or later"
    packages python3 python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or later is needed"
    PYTHON=python3
}

# recipe FOLDER CONSTRAINTS PIP-ARGUMENT...: changes when any of these changes, or pyproject.toml.
recipe() {
    { echo "$*"; cat "$2" "$ROOT/pyproject.toml"; } | sha256sum
}

# up_to_date FOLDER CONSTRAINTS PIP-ARGUMENT...: whether `environment` made this folder from just these.
up_to_date() {
    [ -x "$1/bin/python" ] && [ "$(cat "$1/.recipe" 2>/dev/null)" = "$(recipe "$@")" ]
}

# environment FOLDER CONSTRAINTS PIP-ARGUMENT...: a virtual environment with what pip installs for these arguments;
# nothing to do when it is up to date.
environment() {
    local folder=$1
    ! up_to_date "$@" || return 0
    find_python
    mkdir -p "$folder"
    {
        flock 9
        up_to_date "$@" || make_environment "$@"
    } 9>"$folder/.lock"
}

make_environment() {
    local folder=$1 constraints=$2 made more=()
    made=$(recipe "$@")
    shift 2
    # A server of the tests compiles the modules that it uses as it starts; pip would compile all that there are.
    [[ $folder != "$VENVS"/* ]] || more=(--no-compile)
    echo "installing Python packages into $(basename "$folder")"
    rm -f "$folder/.recipe"
    "$folder/bin/python" -m pip --version >/dev/null 2>&1 || "$PYTHON" -m venv --clear "$folder"
    "$folder/bin/python" -m pip --disable-pip-version-check install -q -c "$constraints" "${more[@]}" "$@" \
        >"$folder/.install.log" 2>&1 || { tail -20 "$folder/.install.log" >&2; die "pip could not install: $*"; }
    echo "$made" >"$folder/.recipe"
}

# -- where they run ------------------------------------------------------------------------------------------------

# service NAME: sets S, the folder of a server.
service() {
    S=$STATE/$1
    mkdir -p "$S/run"
}

# choose_port NAME: sets PORT. It stays the same as long as the state does, unless somebody else has taken it.
# Taken from below the range that the kernel hands out to clients, or a client could grab it before the server does.
choose_port() {
    local file=$S/$1.port
    PORT=$(cat "$file" 2>/dev/null || true)
    if [ -n "$PORT" ] && { alive "$1" || port_is_free "$PORT"; }; then return; fi
    for _ in $(seq 100); do
        PORT=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if port_is_free $PORT; then
            echo $PORT >"$file"
            return
        fi
    done
    die "no free port"
}

port_is_free() {
    ! (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null
}

# as_nobody FOLDER...: sets AS, the words before a command that must not run as root, and gives it the folders.
as_nobody() {
    AS=()
    if [ "$(id -u)" = 0 ]; then
        AS=(setpriv --reuid=nobody --regid=nogroup --clear-groups --)
        [ $# = 0 ] || chown nobody "$@"
    fi
}

# -- processes -----------------------------------------------------------------------------------------------------

# When a process began, in clock ticks since boot: with its number, this names it for ever.
born() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

alive() {
    local pid birth
    [ -s "$S/$1.pid" ] || return 1
    read -r pid birth <"$S/$1.pid"
    [ "$(born "$pid")" = "$birth" ]
}

# start NAME COMMAND...: in a session of its own, so that it can be ended with everything it started.
start() {
    local name=$1
    shift
    ! alive "$name" || return 0
    setsid "$@" >>"$S/$name.log" 2>&1 </dev/null 9>&- &
    echo "$! $(born $!)" >"$S/$name.pid"
}

# ready NAME COMMAND...: waits, at most a minute, until the command succeeds; says why when the server has ended.
ready() {
    local name=$1
    shift
    for _ in $(seq 600); do
        if ! alive "$name"; then
            tail -20 "$S/$name.log" >&2
            die "$name ended"
        fi
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    tail -20 "$S/$name.log" >&2
    die "$name does not answer"
}

# stop NAME [SIGNAL]: ends a server and whatever it left in its session.
stop() {
    local name=$1 pid
    if alive "$name"; then
        read -r pid _ <"$S/$name.pid"
        kill -"${2:-TERM}" "$pid" 2>/dev/null || true
        for _ in $(seq 200); do
            alive "$name" || break
            sleep 0.05
        done
        kill -KILL -- "-$pid" 2>/dev/null || true
    fi
    rm -f "$S/$name.pid"
}
