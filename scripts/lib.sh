# shellcheck shell=bash
# What the scripts share. Source it: it sets $root and $jobs, and defines functions only.

# shellcheck disable=SC2034  # used by those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034
jobs=$(nproc 2>/dev/null || echo 2)

say() { printf '\n== %s\n' "$*"; }

note() { printf '   %s\n' "$*"; }

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, by sudo, or not at all.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "this needs root, and there is no sudo. As root, run:  $*"
    fi
}

# ccache and Python write below HOME; where that cannot be written, the build folder serves.
use_writable_caches() {
    local home=${HOME:-}
    if [ -z "$home" ] || ! [ -w "$home" ]; then
        export HOME=$root/build/home
        mkdir -p "$HOME"
    fi
    export CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache}
    export PYTHONDONTWRITEBYTECODE=1
}

# configure FOLDER [cmake arguments...]
configure() {
    local folder=$1
    shift
    mkdir -p "$folder"
    cmake -S "$root" -B "$folder" -G Ninja "$@" >"$folder/configure.log" 2>&1 || {
        tail -40 "$folder/configure.log"
        return 1
    }
}

# build_preset NAME [ninja targets...]: all of it, with tests, or the targets only.
build_preset() {
    local preset=$1
    shift
    say "build: preset $preset"
    (cd "$root" && configure "$root/build/$preset" --preset "$preset" -DCHAOS_TESTS=ON) &&
        ninja -C "$root/build/$preset" -j "$jobs" --quiet "$@"
}
