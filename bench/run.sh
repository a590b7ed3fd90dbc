#!/bin/bash
# bench/run.sh BUILD [options of bench.py]: every benchmark of the tree, one after the other.
set -eu
cd "$(dirname "$0")/.."
export GARONNE_BUILD=$PWD/$1
shift
/usr/bin/python3 bench/bench.py "$@"
[ $# -gt 0 ] || /usr/bin/python3 bench/web.py
[ $# -gt 0 ] || bench/index.sh "$GARONNE_BUILD" # a million studies: ten minutes
