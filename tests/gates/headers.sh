#!/usr/bin/env bash
# Each header compiles alone, with gcc and with clang.   headers.sh ROOT
set -uo pipefail
cd "$1" || exit 2
bad=0
check() {
    local header=$1 compiler
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null || continue
        "$compiler" -std=gnu17 -D_GNU_SOURCE -DCHAOS_LOAD_VERSION='"0"' -I. -Wall -Wextra -Werror \
            -x c -fsyntax-only -include "$header" /dev/null 2>&1 | sed "s|^|$compiler: |"
        [ "${PIPESTATUS[0]}" -eq 0 ] || return 1
    done
}
while IFS= read -r header; do
    check "$header" || {
        echo "$header does not stand alone"
        bad=1
    }
done < <(find base edge runner chaoslib campaign experiments web cli -name '*.h' 2>/dev/null | sort)
[ "$bad" -eq 0 ] && echo ok
exit "$bad"
