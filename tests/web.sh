#!/bin/sh
# The portal's own unit tests (Vitest).  Exit 77: its packages are not installed (tools/web.sh).
cd "$(dirname "$0")/../web" || exit 1
[ -x node_modules/.bin/vitest ] || exit 77
exec node_modules/.bin/vitest run --reporter=dot
