#!/usr/bin/env bash
# A real Kubernetes node for the tests alone, in namespaces of its own: no port is open outside.
#   cluster.sh up FOLDER BIN IMAGES      returns when the node is ready
#   cluster.sh in FOLDER COMMAND...      runs something inside, as the cluster's admin
#   cluster.sh down FOLDER               takes everything away, also what a killed one left behind
# Where it cannot run, `up` says "SKIP why" and ends with 77.
set -euo pipefail

action=$1
mkdir -p "$2"
D=$(readlink -f "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

skip() {
    echo "SKIP no Kubernetes node: $1"
    exit 77
}

inside() {
    local init
    init=$(cat "$D/init.pid")
    KUBECONFIG=$D/pki/admin.kubeconfig exec nsenter -t "$init" -m -n -p -u -i --wd="$PWD" -- "$@"
}

can_run() {
    local name
    [ "$(id -u)" -eq 0 ] || skip "it needs root"
    for name in containerd ctr runc iptables nft ip openssl unshare nsenter; do
        command -v "$name" >/dev/null || skip "$name is not installed"
    done
    [ -x /usr/lib/cni/bridge ] || skip "package containernetworking-plugins is not installed"
    [ -x "$B/hyperkube" ] || skip "Kubernetes is not built: tests/kube/build.sh build/kube"
    [ -d /sys/fs/cgroup/cpuset ] || skip "it is made for cgroup v1, which this machine has not"
    unshare -m -p -f true 2>/dev/null || skip "no new namespaces may be made"
}

up() {
    local try
    export D B=$1 IMAGES=$2
    can_run
    mkdir -p "$D/log"
    [ -f "$D/pki/ca.crt" ] || "$here/pki.sh" "$D/pki"
    setsid unshare -m -n -p -u -i -f --kill-child --mount-proc "$here/node.sh" >"$D/log/node" 2>&1 </dev/null &
    echo $! >"$D/outer.pid"
    for try in $(seq 100); do
        pgrep -P "$(cat "$D/outer.pid")" >"$D/init.pid" && break
        sleep .05
    done
    for try in $(seq 600); do
        "$0" in "$D" "$B/kubectl" wait --for=condition=Ready node/node1 --timeout=1s >/dev/null 2>&1 && return
        kill -0 "$(cat "$D/init.pid")" 2>/dev/null || break
        sleep .1
    done
    echo "the node did not become ready (try $try)"
    tail -5 "$D/log/node"
    exit 1
}

down() {
    local try group
    [ ! -f "$D/init.pid" ] || kill -TERM "$(cat "$D/init.pid")" 2>/dev/null || true
    for try in $(seq 50); do
        kill -0 "$(cat "$D/outer.pid" 2>/dev/null)" 2>/dev/null || break
        [ "$try" -lt 50 ] || kill -KILL "$(cat "$D/outer.pid")" 2>/dev/null || true
        sleep .1
    done
    for try in $(seq 20); do
        for group in /sys/fs/cgroup/*/hkube; do
            [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
        compgen -G '/sys/fs/cgroup/*/hkube' >/dev/null || break
        sleep .1
    done
    rm -rf "$D"
}

shift 2
case $action in
up) up "$@" ;;
in) inside "$@" ;;
down) down ;;
*)
    echo "usage: cluster.sh up|in|down FOLDER ..." >&2
    exit 2
    ;;
esac
