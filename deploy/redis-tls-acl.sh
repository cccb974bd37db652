#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
#
# One Redis with TLS by a private authority, a user with the least rights, and everything on disk.
PORT=6390
source "$(dirname "${BASH_SOURCE[0]}")/redis-common.sh"
arguments "$@"

users "$FOLDER/users.acl"
start_redis redis "$PORT"

ca="$FOLDER/tls/ca.crt"
show_and_try "rediss://batchy:$PASSWORD@127.0.0.1:$PORT/0?ssl_ca_certs=$ca" \
    "{\"conn_type\": \"redis\", \"host\": \"127.0.0.1\", \"port\": $PORT, \"login\": \"batchy\", \"password\": \"$PASSWORD\", \"extra\": {\"ssl\": true, \"ssl_ca_certs\": \"$ca\", \"ssl_check_hostname\": true}}"
