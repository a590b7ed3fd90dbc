#!/bin/bash
# Installs what is missing of tools/packages.txt and of tests/package.json, and builds the portal's pages (tools/web.sh).
# Says nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

want=$(grep -v '^#' tools/packages.txt)
command -v node >/dev/null && command -v npm >/dev/null || want="$want nodejs npm"
missing=
for p in $want; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q ' installed$' || missing="$missing $p"
done
if [ -n "$missing" ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing:$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -20 "$log"
        exit 1
    fi
    rm -f "$log"
fi
if [ ! -d tests/node_modules ] || [ tests/package-lock.json -nt tests/node_modules/.package-lock.json ]; then
    echo "installing the npm packages of the tests"
    (cd tests && npm ci --ignore-scripts --no-audit --no-fund --silent)
fi
tools/web.sh
