#!/usr/bin/env bash
# Installs what is missing, builds, and lets you watch a shop being loaded, killed and slowed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
"") ;;
-h | --help)
    echo "usage: scripts/demo.sh      runs examples/demo.yaml (under a minute) and writes demo-results/"
    exit 0
    ;;
*) fail "unknown option '$1' (see --help)" ;;
esac

use_writable_caches
out=$PWD/demo-results
say "packages"
"$root/scripts/deps.sh" build
mkdir -p "$root/build"
say "build: preset release"
options=(-DCHAOS_BENCH=OFF)
pkg-config --exists cmocka || options+=(-DCHAOS_TESTS=OFF)
(cd "$root" && configure "$root/build/release" --preset release "${options[@]}")
ninja -C "$root/build/release" -j "$jobs" --quiet chaos-load

say "run: examples/demo.yaml (everything stays on this machine)"
rc=0
"$root/build/release/cli/chaos-load" run "$root/examples/demo.yaml" --out "$out" || rc=$?

# 0 passed, 1 a threshold said no, 4 this machine was too slow to measure: each has a report.
case $rc in
0 | 1 | 4)
    say "the report: file://$out/report.html"
    note "the same as text: $out/summary.md; as data: $out/result.json"
    ;;
esac
exit "$rc"
