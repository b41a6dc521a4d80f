#!/usr/bin/env bash
# Every script is to shellcheck's liking.   shell.sh ROOT
set -uo pipefail
cd "$1" || exit 2
mapfile -t scripts < <({
    find scripts tests bench -name '*.sh'
    find .ci -type f
} 2>/dev/null | sort)
[ "${#scripts[@]}" -gt 0 ] || exit 0
shellcheck -x "${scripts[@]}" || exit 1
echo ok
