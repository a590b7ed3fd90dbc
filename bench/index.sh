#!/bin/bash
# Study-level searches in an index of a million studies, SQLite and PostgreSQL side by side.
#
#   bench/index.sh [BUILD [STUDIES [TENANTS]]]      JSON lines on standard output
#
# The data are made once, by index_gen in SQLite, and copied into PostgreSQL.  KEEP=FOLDER keeps the
# SQLite index there and uses it again.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build} studies=${2:-1000000} tenants=${3:-57}
ninja -C "$build" index_gen index_bench >/dev/null
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
lite=$dir/index-$studies.sqlite
pg=
end() {
    [ -z "$pg" ] || tests/pg.sh stop "$pg"
    [ -n "${KEEP:-}" ] || rm -rf "$dir"
}
trap end EXIT

[ -f "$lite" ] || { "$build/index_gen" "sqlite:$lite.new" "$studies" "$tenants" && mv "$lite.new" "$lite"; }
echo "{\"engine\":\"sqlite\",\"studies\":$studies,\"series\":$(sqlite3 "$lite" 'SELECT COUNT(*) FROM series'),\"bytes\":$(stat -c %s "$lite")}"
"$build/index_bench" "sqlite:$lite"

pg=$(tests/pg.sh start $$) || { echo "PostgreSQL is not installed: skipped" >&2; exit 0; }
"$build/index_gen" "$pg" 0 0 >/dev/null # the schema
for t in tenant patient study series pack; do
    columns=$(sqlite3 "$lite" "SELECT group_concat(name) FROM pragma_table_info('$t')")
    sqlite3 -csv "$lite" "SELECT * FROM $t" | psql -q "$pg" -c "COPY $t ($columns) FROM STDIN (FORMAT csv)"
done
psql -q "$pg" -c "VACUUM ANALYZE"
echo "{\"engine\":\"postgresql\",\"studies\":$studies,\"bytes\":$(psql -At "$pg" -c 'SELECT pg_database_size(current_database())')}"
"$build/index_bench" "$pg"
