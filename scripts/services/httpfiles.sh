# Web servers to read images from: nginx, which behaves, and tests/bed/odd.py, which misbehaves as told by the path.
# shellcheck shell=bash

httpfiles_packages() {
    printf '%s\n' nginx-light openssl
}

httpfiles_up() {
    service httpfiles
    mkdir -p "$S"/{files,spool}
    # One process has two of the ports: chosen anew only while it does not run.
    if ! alive nginx; then
        choose_port nginx
        choose_port tls
        httpfiles_made
        httpfiles_configured >"$S/nginx.conf"
    fi
    choose_port odd
    find_python
    start nginx nginx -p "$S" -e stderr -c "$S/nginx.conf"
    start odd "$PYTHON" "$ROOT/tests/bed/odd.py" "$S/files" "$PORT"
    ready odd httpfiles_answers "http://$HOST:$PORT/files/small"
    ready nginx httpfiles_answers "http://$HOST:$(cat "$S/nginx.port")/files/small"
    cat >"$STATE/env.httpfiles" <<END
export FANLIGHT_TEST_HTTPFILES=http://$HOST:$(cat "$S/nginx.port")
export FANLIGHT_TEST_HTTPFILES_TLS=https://$HOST:$(cat "$S/tls.port")
export FANLIGHT_TEST_HTTPFILES_CA=$S/cert.pem
export FANLIGHT_TEST_HTTPFILES_ODD=http://$HOST:$PORT
END
}

httpfiles_made() {
    printf 'hello world' >"$S/files/small"
    [ -s "$S/files/img64m" ] || head -c 67108864 /dev/urandom >"$S/files/img64m"
    echo "user:$(openssl passwd -apr1 'p@ss')" >"$S/accounts"
    [ -s "$S/key.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
        -addext "subjectAltName=IP:$HOST,DNS:localhost" -keyout "$S/key.pem" -out "$S/cert.pem" 2>"$S/made.log" ||
        { tail -5 "$S/made.log" >&2; die "no certificate could be made"; }
}

# /files/ reads, ranges, PUT and DELETE; /norange/ ignores ranges; /slow/ sends 1 MiB a second; /auth/ wants
# user:p@ss; /301/NAME … lead to /files/NAME; /loop to itself.
httpfiles_configured() {
    local account="" code port folder
    [ "$(id -u)" != 0 ] || account="user root;"
    cat <<END
$account
daemon off;
worker_processes 1;
pid $S/run/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    client_max_body_size 0;
$(for folder in client_body proxy fastcgi uwsgi scgi; do echo "    ${folder}_temp_path $S/spool/$folder;"; done)
    server {
$(for port in nginx "tls ssl"; do echo "        listen $HOST:$(cat "$S/${port% *}.port")${port#"${port% *}"};"; done)
        ssl_certificate $S/cert.pem;
        ssl_certificate_key $S/key.pem;
        location /files/ { alias $S/files/; dav_methods PUT DELETE; }
        location /norange/ { alias $S/files/; max_ranges 0; }
        location /slow/ { alias $S/files/; limit_rate 1m; }
        location /auth/ { alias $S/files/; auth_basic images; auth_basic_user_file $S/accounts; }
$(for code in 301 302 303 307 308; do echo "        location ~ ^/$code/(.*)\$ { return $code /files/\$1; }"; done)
        location = /loop { return 302 /loop; }
    }
}
END
}

httpfiles_answers() {
    curl --silent --fail --max-time 5 --output /dev/null "$1"
}

httpfiles_down() {
    service httpfiles
    stop nginx
    stop odd
}
