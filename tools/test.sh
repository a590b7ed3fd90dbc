#!/bin/bash
# tools/test.sh BUILD [meson test options]: builds, runs the tests, ends with the line "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.."
b=$1
shift
ninja -C "$b" >"$b/ninja.log" 2>&1 || { grep -E 'error|FAILED|undefined' "$b/ninja.log" | head -40; tail -5 "$b/ninja.log"; echo "0 passed, 1 failed"; exit 1; }
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
meson test -C "$b" --print-errorlogs "$@"
rc=$?
/usr/bin/python3 - "$b/meson-logs/testlog.json" <<'P'
import json, sys
n = {"OK": 0, "SKIP": 0, "bad": 0}
for line in open(sys.argv[1]):
    r = json.loads(line)["result"]
    n[r if r in n else "bad"] += 1
print(f'{n["OK"]} passed, {n["bad"]} failed, {n["SKIP"]} skipped')
P
exit $rc
