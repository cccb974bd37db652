#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
#
# A Redis Cluster of three masters with a replica each, with TLS by a private authority and a user with the least rights.
# Each change of a batch waits until the replica has it (wait_replicas), so that losing a master loses none. As there is one
# replica a master, the workflows of a lost master then stand still until the lost node is back: two a master bear that.
PORT=6401
source "$(dirname "${BASH_SOURCE[0]}")/redis-common.sh"
arguments "$@"

replica="$(secret replica)" ca="$FOLDER/tls/ca.crt"
CLUSTER_RIGHTS=" $(documented acl-cluster)"
mapfile -t more < <(documented acl-servers "REPLICA_PASSWORD=$replica" "SENTINEL_PASSWORD=$(secret watcher)")
users "$FOLDER/users.acl" "${more[@]}"
nodes=()
for n in 1 2 3 4 5 6; do
    start_redis "redis-$n" $((PORT + n - 1)) "cluster-enabled yes" "cluster-port $((PORT + n + 5))" \
        "cluster-node-timeout 5000" "tls-replication yes" "tls-cluster yes" "masteruser replica" "masterauth $replica" \
        "repl-diskless-sync-delay 0"
    nodes+=("127.0.0.1:$((PORT + n - 1))")
done
if ! ask "$PORT" cluster info | grep -q cluster_slots_assigned:16384; then
    REDISCLI_AUTH="$ADMIN" redis-cli --tls --cacert "$ca" --user admin --cluster create "${nodes[@]}" \
        --cluster-replicas 1 --cluster-yes >"$FOLDER/create.log" || fail "see $FOLDER/create.log"
fi
for n in 1 2 3 4 5 6; do until_says 60 cluster_state:ok ask $((PORT + n - 1)) cluster info; done
for n in 4 5 6; do until_says 60 master_link_status:up ask $((PORT + n - 1)) info replication; done

list="$(IFS=, && say "${nodes[*]}")"
show_and_try "rediss+cluster://batchy:$PASSWORD@$list?ssl_ca_certs=$ca&wait_replicas=1" \
    "{\"conn_type\": \"redis\", \"host\": \"127.0.0.1\", \"port\": $PORT, \"login\": \"batchy\", \"password\": \"$PASSWORD\", \"extra\": {\"cluster\": true, \"startup_nodes\": \"$list\", \"wait_replicas\": 1, \"ssl\": true, \"ssl_ca_certs\": \"$ca\", \"ssl_check_hostname\": true}}"
