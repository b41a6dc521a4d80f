#!/usr/bin/env bash
# A container engine for the tests alone: Debian's dockerd with everything of its own, below one short folder.
#   engine.sh start FOLDER MINI_HTTP     starts it and makes its images, bb:1 and httpd:1, from files
#   engine.sh stop FOLDER                takes everything away, also what a killed one left behind
#   engine.sh halt FOLDER                ends the engine alone, as an upgrade would; its containers are its own business
#   engine.sh resume FOLDER              starts it again
# CHAOS_ENGINE_OPTIONS: more options of dockerd (--live-restore).
# It touches neither the machine's own engine nor its firewall. Where it cannot run, start says
# "SKIP why", and the tests that need it skip themselves.
set -euo pipefail

dir=${2:-}
sock=$dir/docker.sock
pidfile=$dir/docker.pid
hash=$(cksum <<<"$dir" | cut -d' ' -f1)
bridge=cl$(printf '%08x' "$hash")

skip() {
    echo "SKIP no private container engine: $1"
    exit 77
}

up() { curl -sf -o /dev/null --max-time 2 --unix-socket "$sock" http://engine/_ping 2>/dev/null; }

# A zombie is gone, whatever kill -0 says of it.
alive() {
    case "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null)" in
    "" | Z*) return 1 ;;
    esac
}

# The first network of the 10.64 to 10.191 that nobody here has; where to begin follows from the folder.
network() {
    local i second
    for i in $(seq 0 127); do
        second=$((64 + (hash + i) % 128))
        if ! ip -4 -o addr show | grep -q "inet 10\.$second\." && ! ip -4 route show | grep -q "^10\.$second\."; then
            echo "10.$second"
            return
        fi
    done
    return 1
}

containers() {
    curl -s --max-time 10 --unix-socket "$sock" 'http://engine/containers/json?all=1' | grep -o '"Id":"[0-9a-f]*"' | cut -d'"' -f4
}

remove_containers() {
    local id
    for id in $(containers || true); do
        curl -s -o /dev/null --max-time 20 -X DELETE --unix-socket "$sock" "http://engine/containers/$id?force=1&v=1" || true
    done
}

# What runs for this engine: its containerd and shims, which name its folder.
processes() {
    ps -eo pid= -o args= | awk -v d="$dir/exec/" 'index($0, "-address " d) || index($0, "containerd --config " d) { print $1 }'
}

stop_daemon() {
    local pid
    [ -f "$pidfile" ] || return 0
    pid=$(cat "$pidfile")
    # Only what is ours: the number may be another's by now.
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$pidfile" || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    for _ in $(seq 300); do
        alive "$pid" || return 0
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# After a SIGKILL of dockerd its containers run on. A paused one dies only once it is thawed.
kill_orphans() {
    local path id pid
    for path in "$dir"/data/containers/*/; do
        [ -d "$path" ] || continue
        id=$(basename "$path")
        for pid in $(cat /sys/fs/cgroup/{pids/,}docker/"$id"/cgroup.procs 2>/dev/null || true); do kill -9 "$pid" 2>/dev/null || true; done
        path=/sys/fs/cgroup/freezer/docker/$id/freezer.state
        [ ! -f "$path" ] || echo THAWED >"$path" || true
        path=/sys/fs/cgroup/docker/$id/cgroup.freeze
        [ ! -f "$path" ] || echo 0 >"$path" || true
    done
    for pid in $(processes); do kill -9 "$pid" 2>/dev/null || true; done
}

remove_cgroups() {
    local path id group
    for path in "$dir"/data/containers/*/; do
        id=$(basename "$path")
        for group in /sys/fs/cgroup/*/docker/"$id" /sys/fs/cgroup/docker/"$id"; do
            [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        done
    done
}

# Bridges of networks that tests made; they share our bridge's first two numbers.
remove_networks() {
    local net name
    net=$(ip -4 -o addr show dev "$bridge" 2>/dev/null | sed -n 's/.* inet \(10\.[0-9]*\)\..*/\1/p' | head -1) || return 0
    [ -n "$net" ] || return 0
    for name in $(ip -4 -o addr show | awk -v net="inet $net." 'index($0, net) && $2 ~ /^br-/ { print $2 }'); do
        ip link del "$name" 2>/dev/null || true
    done
}

stop() {
    local mount
    if up; then remove_containers; fi
    stop_daemon
    kill_orphans
    for _ in $(seq 100); do [ -n "$(processes)" ] || break; sleep 0.05; done
    { grep -o " $dir/[^ ]*" /proc/self/mountinfo || true; } | sort -ru | while read -r mount; do umount -l "$mount" || true; done
    remove_cgroups
    remove_networks
    ip link del "$bridge" 2>/dev/null || true
    rm -rf "$dir"
}

make_bridge() {
    local net
    net=$(network) || skip "every network from 10.64 to 10.191 is taken"
    mkdir -p "$dir"
    ip link add "$bridge" type bridge 2>"$dir/log" || skip "cannot make a bridge: $(cat "$dir/log")"
    ip addr add "$net.0.1/24" dev "$bridge"
    ip link set "$bridge" up
}

run_daemon() {
    local net options
    net=$(ip -4 -o addr show dev "$bridge" | sed -n 's/.* inet \(10\.[0-9]*\)\..*/\1/p')
    read -ra options <<<"${CHAOS_ENGINE_OPTIONS:-}"
    # Of an engine that was killed; by the number alone it would wait for its zombies.
    rm -f "$pidfile" "$dir/exec/containerd/containerd.pid"
    setsid nohup dockerd --host "unix://$sock" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$pidfile" \
        --bridge "$bridge" --default-address-pool "base=$net.128.0/17,size=24" \
        --iptables=false --ip-forward=false --ip-masq=false --log-level warn ${options[@]+"${options[@]}"} >>"$dir/log" 2>&1 </dev/null &
    for _ in $(seq 600); do
        if up; then return 0; fi
        sleep 0.05
    done
    return 1
}

start_daemon() {
    make_bridge
    if run_daemon; then return 0; fi
    local why
    why=$(tail -1 "$dir/log")
    stop
    skip "dockerd does not start: $why"
}

# import NAME CHANGES: an image from the tar on stdin; CHANGES is already URL-encoded.
import() {
    curl -sS --fail --max-time 60 --unix-socket "$sock" -H 'Content-Type: application/x-tar' -o "$dir/import" -X POST -T - \
        "http://engine/images/create?fromSrc=-&repo=$1&tag=1$2"
    ! grep -q errorDetail "$dir/import" || { cat "$dir/import" >&2; return 1; }
}

images() {
    local root=$dir/root applet
    mkdir -p "$root/bb/bin" "$root/bb/etc" "$root/bb/tmp" "$root/httpd"
    cp "$(command -v busybox)" "$root/bb/bin/busybox"
    for applet in $("$root/bb/bin/busybox" --list); do [ -e "$root/bb/bin/$applet" ] || ln -s busybox "$root/bb/bin/$applet"; done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/bb/etc/passwd"
    cp "$1" "$root/bb/bin/httpd-mini"
    cp "$1" "$root/httpd/httpd"
    tar -C "$root/bb" -c . | import bb '&changes=CMD%20%5B%22%2Fbin%2Fsh%22%5D'
    tar -C "$root/httpd" -c . | import httpd '&changes=ENTRYPOINT%20%5B%22%2Fhttpd%22%5D&changes=CMD%20%5B%228080%22%5D&changes=EXPOSE%208080'
    rm -rf "$root"
}

start() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    for tool in dockerd ip busybox curl; do
        command -v "$tool" >/dev/null || skip "there is no $tool here (scripts/deps.sh test)"
    done
    [ -x "$1" ] || {
        echo "there is no $1: build mini_http first" >&2
        exit 1
    }
    "$(command -v busybox)" ls / >/dev/null || skip "busybox does not run"
    stop
    start_daemon
    images "$1" || { stop; skip "cannot make its images"; }
    echo "engine at unix://$sock"
}

case $dir in
/tmp/chaos-load-?*) ;;
*)
    echo "usage: engine.sh start /tmp/chaos-load-X MINI_HTTP | stop /tmp/chaos-load-X" >&2
    exit 2
    ;;
esac
case ${1:-} in
start) start "${3:?the path of mini_http}" ;;
stop) stop ;;
halt) stop_daemon ;;
resume) run_daemon ;;
*)
    echo "usage: engine.sh start|stop|halt|resume FOLDER" >&2
    exit 2
    ;;
esac
