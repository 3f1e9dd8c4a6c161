# MariaDB, in which the user `os` (password `os`) may make databases; and the driver in C beside the one that we ship.
# shellcheck shell=bash

mariadb_packages() {
    printf '%s\n' mariadb-server-core mariadb-client gcc libc6-dev libmariadb-dev pkg-config
    # Debian's own Python keeps its headers apart.
    find_python
    [ "$(command -v "$PYTHON")" != /usr/bin/python3 ] || printf '%s\n' python3-dev
}

mariadb_environment() {
    "$SCRIPTS/install" dev
    ! "$ROOT/.venv/bin/python" -c 'import MySQLdb' 2>/dev/null || return 0
    echo "compiling mysqlclient into .venv"
    "$ROOT/.venv/bin/python" -m pip --disable-pip-version-check install -q -c "$ROOT/constraints.txt" mysqlclient \
        >"$STATE/mysqlclient.log" 2>&1 || { tail -20 "$STATE/mysqlclient.log" >&2; die "mysqlclient did not compile"; }
}

mariadb_up() {
    service mariadb
    choose_port mariadb
    as_nobody "$S/run"
    # --no-defaults has to come first. Tables are made and dropped all the time here, and nothing has to outlive the
    # machine: hence small files and no flush at a commit, unless FANLIGHT_DURABLE asks for it.
    local account flush=2 options
    account=$(id -un)
    [ "$account" != root ] || account=nobody
    [ -z "${FANLIGHT_DURABLE:-}" ] || flush=1
    options=(--no-defaults "--datadir=$S/data" "--user=$account" --skip-name-resolve --innodb-log-file-size=32M)
    if [ ! -e "$S/made" ]; then
        rm -rf "$S/data"
        mkdir "$S/data"
        as_nobody "$S/data"
        # Debian's default lets root in by its Unix account, which a server that runs as nobody cannot check.
        "${AS[@]}" mariadb-install-db "${options[@]}" --auth-root-authentication-method=normal --skip-test-db \
            >"$S/made.log" 2>&1 || { tail -5 "$S/made.log" >&2; die "MariaDB's tables could not be made"; }
    fi
    start mariadb "${AS[@]}" /usr/sbin/mariadbd "${options[@]}" --bind-address="$HOST" --port="$PORT" \
        --socket="$S/run/s" --pid-file="$S/run/pid" --tmpdir="$S/run" --character-set-server=utf8mb4 \
        --max-connections=400 --innodb-buffer-pool-size=128M --performance-schema=OFF \
        --innodb-flush-log-at-trx-commit=$flush
    ready mariadb mariadb_asked 'SELECT 1'
    if [ ! -e "$S/made" ]; then
        mariadb_asked "CREATE USER os@'%' IDENTIFIED BY 'os'; GRANT ALL ON *.* TO os@'%' WITH GRANT OPTION"
        touch "$S/made"
    fi
    echo "export FANLIGHT_TEST_MARIADB=mysql+pymysql://os:os@$HOST:$PORT/" >"$STATE/env.mariadb"
}

mariadb_asked() {
    mariadb --no-defaults -u root -S "$S/run/s" -e "$1"
}

mariadb_down() {
    service mariadb
    stop mariadb
}
