#!/usr/bin/env bash
# Installs the Debian packages that are missing, and nothing else.
#   scripts/deps.sh [build] [test] [lint] [fuzz] [bench]        (default: build)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A packages=(
    [build]="gcc libc6-dev cmake ninja-build pkg-config ccache libevent-dev libssl-dev libcurl4-openssl-dev
        libyaml-dev libcjson-dev zlib1g-dev libjs-dygraphs
        libmnl-dev libnftnl-dev libnetfilter-queue-dev libnghttp2-dev"
    [test]="libcmocka-dev python3 python3-jsonschema openssl curl procps groff-base zsh fish
        docker.io busybox-static iproute2 iptables nftables cpio kmod qemu-system-x86 python3-grpcio
        podman containernetworking-plugins"
    [lint]="clang clang-format clang-tidy universal-ctags pmccabe shellcheck codespell git binutils python3"
    [fuzz]="clang llvm"
    [bench]="nginx-light wrk nghttp2-client python3"
)
# What to look for where packages have other names: commands, and pkg-config modules.
declare -A commands=(
    [build]="cc cmake ninja pkg-config"
    [test]="python3 openssl curl"
    [lint]="clang clang-format clang-tidy ctags pmccabe shellcheck codespell git objdump"
    [fuzz]="clang"
    [bench]="nginx wrk h2load"
)
declare -A modules=(
    [build]="libevent_core libevent_pthreads openssl libcurl yaml-0.1 libcjson zlib libmnl libnftnl libnetfilter_queue libnghttp2"
    [test]="cmocka"
)

packages_for() {
    local purpose
    for purpose in "$@"; do
        # The runtime of clang's sanitizers and of libFuzzer is a package of its own, named after its version.
        [[ $purpose != fuzz && $purpose != lint ]] || printf '%s\n' "libclang-rt-$(clang_version)-dev"
        tr -s ' \n' '\n' <<<"${packages[$purpose]}"
    done | sort -u
}

clang_version() {
    local v
    v=$(dpkg-query -W -f '${Depends}' clang 2>/dev/null || apt-cache show clang 2>/dev/null | sed -n 's/^Depends: //p')
    v=$(sed -n 's/.*clang-\([0-9][0-9]*\).*/\1/p' <<<"$v" | head -1)
    printf '%s' "${v:-14}"
}

missing_packages() {
    local installed
    # dpkg-query fails when it does not know one of them, and tells of the others all the same.
    installed=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } |
        sed -n 's/^installed //p' | sort -u)
    comm -23 <(printf '%s\n' "$@" | sort -u) <(printf '%s\n' "$installed")
}

install_on_debian() {
    local -a wanted missing
    mapfile -t wanted < <(packages_for "$@")
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing with apt: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "${missing[@]}" >/dev/null
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    [ "${#missing[@]}" -eq 0 ] || fail "still missing after installation: ${missing[*]}"
}

# Elsewhere nothing is installed: what is missing is named, by command and by pkg-config module.
check_elsewhere() {
    local purpose name lacking=""
    for purpose in "$@"; do
        for name in ${commands[$purpose]}; do
            have "$name" || lacking+="  command     $name"$'\n'
        done
        for name in ${modules[$purpose]:-}; do
            pkg-config --exists "$name" 2>/dev/null || lacking+="  pkg-config  $name"$'\n'
        done
    done
    [ -n "$lacking" ] || return 0
    printf 'Packages are installed for you on Debian and Ubuntu only. Missing here:\n%s' "$lacking" >&2
    printf 'On Debian the packages are:\n  %s\n' "$(packages_for "$@" | tr '\n' ' ')" >&2
    exit 1
}

# ID and ID_LIKE are the distribution's own words.
is_debian_like() {
    [ -r /etc/os-release ] && have dpkg-query && have apt-get || return 1
    case " $(sed -n 's/^ID\(_LIKE\)\{0,1\}=//p' /etc/os-release | tr -d '"' | tr '\n' ' ') " in
    *" debian "* | *" ubuntu "*) return 0 ;;
    *) return 1 ;;
    esac
}

check_cmake() {
    local version
    version=$(cmake --version | sed -n 's/^cmake version //p')
    printf '3.25\n%s\n' "$version" | sort -V -C ||
        fail "cmake $version is too old, 3.25 is needed (Debian 12, Ubuntu 24.04 or later have it)"
}

main() {
    local purpose
    [ $# -gt 0 ] || set -- build
    for purpose in "$@"; do
        case $purpose in
        build | test | lint | fuzz | bench) ;;
        *) fail "unknown purpose '$purpose': use build test lint fuzz bench" ;;
        esac
    done
    if is_debian_like; then
        install_on_debian "$@"
    else
        check_elsewhere "$@"
    fi
    check_cmake
}

main "$@"
