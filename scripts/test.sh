#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Ends with ctest's closing line.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END'
usage: scripts/test.sh [--quick | --only LABEL | --fuzz] [--help]

  (nothing)      everything: what is about time in the release build, the threaded tests in a clang build
                 with the thread sanitizer, then all else and the gates under the address sanitizer
  --quick        the unit tests, fuzz corpora and fast gates
  --only LABEL   the tests of one label: unit func e2e fuzz lint thread
  --fuzz         builds the fuzz targets and runs each for 30 s (CHAOS_FUZZ_SECONDS changes that)

Builds are kept in build/. Nothing is sent anywhere but to this machine; packages come from apt.
END
}

failed=()
log=$root/build/test.log

# stage NAME COMMAND...: a failure is kept and told at the end, so that one run shows all.
stage() {
    local name=$1
    shift
    "$@" || {
        note "FAILED: $name"
        failed+=("$name")
    }
}

# run_ctest FOLDER ARGUMENTS...: what ctest says goes to the terminal but for its closing line, which
# close_with prints last of all.
run_ctest() {
    local folder=$1
    shift
    {
        local rc=0
        (cd "$folder" && ctest -j "$jobs" --output-on-failure "$@") 2>&1 || rc=$?
        echo "$rc" >"$log.rc"
    } | tee "$log" | { grep --line-buffered -v -e 'tests passed, ' -e '^Label Time Summary' -e ' sec\*proc ' || true; }
    note_skipped "$folder/Testing/Temporary/LastTest.log"
    return "$(cat "$log.rc")"
}

# Why each skipped test of this stage was skipped: the last line that it said.
note_skipped() {
    [ -f "$1" ] || return 0
    sed -n 's/.*Test *#[0-9]*: \([^ ]*\) .*Skipped.*/\1/p' "$log" | sort -u | while IFS= read -r name; do
        awk -v name="$name" '
            / Testing: / { inside = $NF == name }
            inside && /^<end of output>/ { print "   " name ": " last }
            NF { last = $0 }' "$1"
    done >>"$log.skipped"
}

tell_skipped() {
    [ -s "$log.skipped" ] || return 0
    say "skipped on this machine, and why"
    sort -u "$log.skipped"
}

# The analysis of all sources takes minutes: so it is begun beside builds, and takes only what they leave of the
# processors. Beside tests that measure even that would show. The gate that judges passes over what was found clean.
begin_analysis() {
    (cd "$root" && configure "$root/build/dev" --preset dev -DCHAOS_TESTS=ON) || return 0
    chrt --idle 0 python3 "$root/tests/gates/tidy.py" "$root" "$root/build/dev" >"$root/build/dev/tidy.log" 2>&1 &
    analysis=$!
    trap end_analysis EXIT
}

end_analysis() {
    [ -n "${analysis:-}" ] || return 0
    kill "$analysis" 2>/dev/null || true
    wait "$analysis" 2>/dev/null || true
    analysis=
}

# Each test runs once, in the build that suits it (tests/e2e/timing.cmake says which are about time). A neighbour
# on the machine can spoil a figure once; a test that fails twice has found something.
release_stage() {
    build_preset release || return 1
    say "test: release build, where timing is the subject"
    run_ctest "$root/build/release" -L timing --no-tests=error --repeat until-pass:2
}

# All of it is built: clang's warnings are errors, too.
tsan_stage() {
    build_preset tsan || return 1
    say "test: threads, under the thread sanitizer"
    run_ctest "$root/build/tsan" -L thread --no-tests=error
}

dev_stage() {
    build_preset dev || return 1
    end_analysis
    say "test: address and undefined-behaviour sanitizers"
    run_ctest "$root/build/dev" --no-tests=error --repeat until-pass:2 "$@"
}

fuzz_one() {
    local target=$1 seconds=${CHAOS_FUZZ_SECONDS:-30}
    local work=$root/build/fuzz/corpus/$target
    mkdir -p "$work" "$root/build/fuzz/found"
    if "$root/build/fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$root/build/fuzz/found/$target-" "$work" \
        "$root/tests/fuzz/corpus/$target" >"$work.log" 2>&1; then
        note "$target: $(tail -1 "$work.log")"
    else
        tail -30 "$work.log"
        note "$target FAILED; the input is in build/fuzz/found/"
        return 1
    fi
}

fuzz_stage() {
    local -a targets
    build_preset fuzz fuzz_targets || return 1
    mapfile -t targets <"$root/build/fuzz/fuzz_targets.txt"
    say "fuzz: ${#targets[@]} targets, ${CHAOS_FUZZ_SECONDS:-30} s each"
    export -f fuzz_one note
    export root
    printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'fuzz_one {}'
}

close_with() {
    if [ "${#failed[@]}" -gt 0 ]; then
        printf '\nFAILED: %s\n' "${failed[*]}"
        exit 1
    fi
    grep 'tests passed, ' "$log" | tail -1
}

main() {
    local mode=all label=""
    while [ $# -gt 0 ]; do
        case $1 in
        --quick) mode=quick ;;
        --fuzz) mode=fuzz ;;
        --only)
            mode=only
            label=${2:-}
            [ -n "$label" ] || fail "--only needs a label: unit func e2e fuzz lint thread"
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) fail "unknown option '$1' (see --help)" ;;
        esac
        shift
    done
    use_writable_caches
    mkdir -p "$root/build"
    : >"$log"
    : >"$log.skipped"
    say "packages"
    case $mode in
    fuzz) "$root/scripts/deps.sh" build test lint fuzz ;;
    *) "$root/scripts/deps.sh" build test lint ;;
    esac
    case $mode in
    quick) stage dev dev_stage -L 'unit|fuzz|lint' -E 'gate_(tidy|headers)' ;;
    only) stage "$label" dev_stage -L "$label" ;;
    fuzz)
        stage fuzz fuzz_stage
        stage corpus dev_stage -L fuzz
        ;;
    all)
        stage release release_stage
        begin_analysis
        stage tsan tsan_stage
        stage dev dev_stage -LE timing
        ;;
    esac
    tell_skipped
    close_with
}

main "$@"
