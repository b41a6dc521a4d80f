#!/usr/bin/env bash
# The last commits read "scope: verb the thing", in at most 60 characters, with a body wrapped at 72.
#   commits.sh ROOT [HOW_MANY]
set -uo pipefail
cd "$1" || exit 2
how_many=${2:-60}
git_() { git -c safe.directory='*' "$@"; }
if [ "$(git_ rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]; then
    echo "SKIP commits: not a git checkout"
    exit 77
fi
git_ log --no-merges -n "$how_many" --format='%x01%h%x02%s%x02%b' | awk -v RS='\001' -v FS='\002' '
    NR == 1 { next }
    {
        n++
        if (length($2) > 60) bad($1, "subject of " length($2) " characters, at most 60: " $2)
        if ($2 !~ /^[a-z][a-z0-9_.\/-]*(, [a-z][a-z0-9_.\/-]*)*: [^ ].*[^.]$/) bad($1, "not \"scope: verb the thing\": " $2)
        if ($3 ~ /[^ \n]/) with_body++
        lines = split($3, line, "\n")
        for (i = 1; i <= lines; i++)
            if (length(line[i]) > 76 && line[i] !~ /https?:/) bad($1, "a line of the body has " length(line[i]) " characters")
    }
    function bad(commit, why) { print commit ": " why; failed = 1 }
    END {
        if (n && with_body < 0.8 * n) { print with_body " of " n " commits say why, 80 % must"; failed = 1 }
        if (!failed) print "ok: " n " commits"
        exit failed
    }'
