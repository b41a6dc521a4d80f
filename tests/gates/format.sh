#!/usr/bin/env bash
# clang-format 14 changes nothing.   format.sh ROOT
set -uo pipefail
cd "$1" || exit 2
version=$(clang-format --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" != 14 ]; then
    echo "SKIP format: other versions of clang-format than 14 (here: ${version:-none}) lay code out differently"
    exit 77
fi
mapfile -t files < <(find base edge runner chaoslib campaign experiments web cli tests bench \
    \( -name '*.c' -o -name '*.h' \) 2>/dev/null | sort)
[ "${#files[@]}" -gt 0 ] || exit 0
# shellcheck disable=SC2016
printf '%s\0' "${files[@]}" | xargs -0 -n 8 -P "$(nproc)" clang-format --dry-run --Werror 2>&1 |
    sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: error.*/\1/p' | sort | uniq -c |
    awk '{ print $2 ": " $1 " place(s); run clang-format -i on it"; bad = 1 } END { if (!bad) print "ok"; exit bad }'
