#!/bin/sh
# A throw-away PostgreSQL for tests: no network, nothing flushed to disk.  Its default collation is
# French, so that a column that should compare bytes and does not is found.
#
#   tests/pg.sh start PID     starts one, prints its URL; it goes away by itself when process PID ends
#   tests/pg.sh stop URL      ends it at once
#
# Exit code 77: PostgreSQL is not installed (Debian: postgresql-15), the caller skips.
set -eu
bin=${GARONNE_PG_BIN:-}
for d in "$bin" /usr/lib/postgresql/*/bin; do
    [ -x "$d/initdb" ] && bin=$d
done
[ -n "$bin" ] && [ -x "$bin/initdb" ] || exit 77

# The server refuses to run as root: then it runs as postgres.
as() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/ LC_ALL=C "$@"
    else
        env LC_ALL=C "$@"
    fi
}

halt() {
    as "$bin/pg_ctl" -D "$1/data" -m immediate -s stop 2>/dev/null || true
    rm -rf "$1"
}

case ${1:-} in
start)
    pid=$2
    dir=$(mktemp -d /tmp/garonne-pg-XXXXXX)
    trap 'halt "$dir"' EXIT
    chmod 755 "$dir"
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$dir"
    as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C \
        --locale-provider=icu --icu-locale=fr --no-sync >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; exit 1; }
    as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -s -w start -o "-k $dir -h '' -c fsync=off \
        -c synchronous_commit=off -c full_page_writes=off -c max_connections=60 -c deadlock_timeout=20 -c shared_buffers=64MB" ||
        { cat "$dir/data/log" >&2; exit 1; }
    trap - EXIT
    # the watcher keeps no descriptor of ours, or a test runner would wait for it
    (while kill -0 "$pid" 2>/dev/null && [ -d "$dir" ]; do sleep 1; done; halt "$dir") \
        </dev/null >/dev/null 2>&1 &
    echo "postgresql:///postgres?host=$dir&user=postgres"
    ;;
stop)
    dir=${2#*host=}
    dir=${dir%%&*}
    case $dir in
    /tmp/garonne-pg-*) halt "$dir" ;;
    *) echo "not one of ours: $2" >&2; exit 2 ;;
    esac
    ;;
*)
    echo "usage: pg.sh start PID | stop URL" >&2
    exit 2
    ;;
esac
