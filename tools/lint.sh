#!/bin/bash
# Layers, banned calls, format, file sizes, shell, clang-tidy, TypeScript.  LINT_FAST=1 leaves the last two out.
set -u
cd "$(dirname "$0")/.."
rc=0
tools/check-layers.py || rc=1
tools/check-banned.sh || rc=1
tools/check-docs.py || rc=1

files=$(git ls-files --cached --others --exclude-standard 'src/*.[ch]' 'bench/*.c')
# shellcheck disable=SC2086
clang-format --dry-run -Werror $files || rc=1
for f in $(git ls-files 'src/*.h'); do
    n=$(wc -l <"$f")
    [ "$n" -le 300 ] || { echo "$f: $n lines; a header over 300 lines has two subjects"; rc=1; }
done
if [ "${LINT_FAST:-0}" = 0 ]; then
    [ -f build/build.ninja ] || meson setup build >/dev/null
    ninja -C build $(ninja -C build -t targets all | grep -oE '^[^:]*tags\.h' | head -1) >/dev/null
    # shellcheck disable=SC2046
    git ls-files --cached --others --exclude-standard 'src/*.c' | grep -vE '_(test|fuzz)\.c$|fuzz_main' | xargs -P "$(nproc)" -I@ \
        clang-tidy --quiet @ -- -std=gnu17 -D_GNU_SOURCE -Isrc -Ibuild -Ibuild/src $(pkg-config --cflags libxml-2.0) 2>/dev/null | grep -E 'error|warning' && rc=1
fi
if [ "${LINT_FAST:-0}" = 0 ] && [ -d web/node_modules ]; then
    (cd web && node_modules/.bin/tsc --noEmit && node_modules/.bin/eslint src) || rc=1
fi
[ $rc = 0 ] && echo "lint: clean"
exit $rc
