#!/usr/bin/env bash
# codespell finds nothing but what spelling.ignore names; bad_*.txt hold mistakes on purpose, golden/ those of others.   spelling.sh ROOT
set -uo pipefail
cd "$1" || exit 2
here=$(dirname "$(readlink -f "$0")")
mapfile -t found < <(find . \( -name .git -o -name build -o -name corpus -o -name golden -o -name __pycache__ -o -name demo-results -o -name go.sum -o -name 'bad_*.txt' \) -prune \
    -o -type f -print 2>/dev/null | sort)
codespell --ignore-words "$here/spelling.ignore" --check-hidden --builtin clear "${found[@]}" || exit 1
echo ok
