#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
#
# A master with two replicas and three Sentinels, with TLS by a private authority and users with the least rights at both.
# Each change of a batch waits until a replica has it (wait_replicas), so that a failover loses none.
#
# To see a failover: kill the process in redis-1.pid, and `batchy doctor` until it answers.
PORT=6391
source "$(dirname "${BASH_SOURCE[0]}")/redis-common.sh"
arguments "$@"

replica="$(secret replica)" watcher="$(secret watcher)" sentinel="$(secret sentinel)" ca="$FOLDER/tls/ca.crt"
mapfile -t more < <(documented acl-servers "REPLICA_PASSWORD=$replica" "SENTINEL_PASSWORD=$watcher")
users "$FOLDER/users.acl" "${more[@]}"
common=("tls-replication yes" "masteruser replica" "masterauth $replica" "repl-diskless-sync-delay 0")
rm -f "$FOLDER"/sentinel-?.conf # who was the master last time is not known to whoever starts it
start_redis redis-1 "$PORT" "${common[@]}"
for n in 2 3; do start_redis "redis-$n" $((PORT + n - 1)) "${common[@]}" "replicaof 127.0.0.1 $PORT"; done
until_says 30 connected_slaves:2 ask "$PORT" info replication

for n in 1 2 3; do
    at=$((PORT + 2 + n))
    mkdir -p "$FOLDER/sentinel-$n"
    {
        printf '%s\n' "port 0" "tls-port $at" "bind 127.0.0.1" "dir $FOLDER/sentinel-$n" "tls-replication yes"
        tls_lines
        printf '%s\n' "sentinel monitor mymaster 127.0.0.1 $PORT 2" \
            "sentinel auth-user mymaster sentinel" "sentinel auth-pass mymaster $watcher" \
            "sentinel sentinel-user admin" "sentinel sentinel-pass $ADMIN" \
            "sentinel down-after-milliseconds mymaster 5000" "sentinel failover-timeout mymaster 20000" \
            "user default off" "user admin on >$ADMIN ~* &* +@all"
        documented acl-sentinel "PASSWORD=$sentinel"
    } >"$FOLDER/sentinel-$n.conf"
    start "sentinel-$n" "$at" "$FOLDER/sentinel-$n.conf" --sentinel
done
for n in 1 2 3; do until_says 30 'OK 3 usable Sentinels' ask $((PORT + 2 + n)) sentinel ckquorum mymaster; done

hosts="127.0.0.1:$((PORT + 3)),127.0.0.1:$((PORT + 4)),127.0.0.1:$((PORT + 5))"
show_and_try "rediss+sentinel://batchy:$PASSWORD@$hosts/mymaster/0?ssl_ca_certs=$ca&sentinel_username=batchy&sentinel_password=$sentinel&wait_replicas=1" \
    "{\"conn_type\": \"redis\", \"login\": \"batchy\", \"password\": \"$PASSWORD\", \"extra\": {\"sentinels\": \"$hosts\", \"sentinel_service\": \"mymaster\", \"sentinel_username\": \"batchy\", \"sentinel_password\": \"$sentinel\", \"wait_replicas\": 1, \"ssl\": true, \"ssl_ca_certs\": \"$ca\", \"ssl_check_hostname\": true}}"
