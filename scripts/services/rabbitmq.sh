# RabbitMQ, for notifications and for Cinder; user `openstack`, password `rabbit`.
# shellcheck shell=bash

rabbitmq_packages() {
    echo rabbitmq-server
}

rabbitmq_up() {
    service rabbitmq
    mkdir -p "$S"/{home,mnesia,log}
    # A daemon of Erlang's port mapper of its own: the machine's may belong to somebody else, and names in it are unique.
    choose_port epmd
    local mapper=$PORT
    start epmd epmd -address "$HOST" -port "$mapper"
    ready epmd epmd -port "$mapper" -names
    # One process has two of the ports: chosen anew only while it does not run.
    if ! alive rabbitmq; then
        choose_port nodes
        choose_port rabbitmq
        rabbitmq_configured
    fi
    PORT=$(cat "$S/rabbitmq.port")
    # The script in /usr/sbin would change to the user rabbitmq; the one in the package's library does not.
    # One scheduler that does not spin: a broker at rest costs nothing.
    HOME=$S/home ERL_EPMD_PORT=$mapper ERL_EPMD_ADDRESS=$HOST RABBITMQ_NODENAME=fanlight@localhost \
        RABBITMQ_DIST_PORT=$(cat "$S/nodes.port") RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_CONFIG_FILE=$S/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$S/plugins \
        RABBITMQ_MNESIA_BASE=$S/mnesia RABBITMQ_LOG_BASE=$S/log RABBITMQ_PID_FILE=$S/run/rabbitmq.pid \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +A 4 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}" \
        start rabbitmq "$(rabbitmq_programs)/rabbitmq-server"
    ready rabbitmq rabbitmq_greets
    echo "export FANLIGHT_TEST_RABBITMQ=rabbit://openstack:rabbit@$HOST:$PORT/" >"$STATE/env.rabbitmq"
}

rabbitmq_configured() {
    local cookie=$S/home/.erlang.cookie
    if [ ! -s "$cookie" ]; then
        echo "$RANDOM$RANDOM$RANDOM$RANDOM" >"$cookie"
        chmod 400 "$cookie"
    fi
    echo '[].' >"$S/plugins"
    cat >"$S/rabbitmq.conf" <<END
listeners.tcp.1 = $HOST:$PORT
default_user = openstack
default_pass = rabbit
vm_memory_high_watermark.absolute = 400MB
disk_free_limit.absolute = 50MB
log.file.level = warning
END
}

rabbitmq_programs() {
    printf '%s\n' /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin | tail -1
}

# It listens a while before it serves; a broker that serves answers the first eight bytes of AMQP 0-9-1.
rabbitmq_greets() {
    local first
    exec 3<>"/dev/tcp/$HOST/$PORT" || return 1
    printf 'AMQP\0\0\11\1' >&3
    first=$(timeout 5 head -c 8 <&3 | tr -d '\0' | wc -c)
    exec 3>&-
    [ "$first" -gt 0 ]
}

rabbitmq_down() {
    service rabbitmq
    stop rabbitmq
    stop epmd
}
