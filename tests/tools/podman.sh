#!/usr/bin/env bash
# Podman's compatible socket for the tests alone: its service with everything of its own, below one short folder.
#   podman.sh start FOLDER MINI_HTTP     starts it and makes its image, httpd:1, from files; prints where it is
#   podman.sh stop FOLDER                takes everything away, also what a killed one left behind
# Its network is a bridge without port forwarding and firewall rules: containers are reached by their address.
# Where it cannot run, start says "SKIP why".
set -euo pipefail

dir=${2:-}
sock=$dir/podman.sock
pidfile=$dir/podman.pid
hash=$(cksum <<<"$dir" | cut -d' ' -f1)
bridge=cp$(printf '%08x' "$hash")
podman=(podman --root "$dir/root" --runroot "$dir/runroot" --tmpdir "$dir/tmp" --network-config-dir "$dir/cni"
    --cgroup-manager cgroupfs --events-backend file)

skip() {
    echo "SKIP no Podman: $1"
    exit 77
}

up() { curl -sf -o /dev/null --max-time 2 --unix-socket "$sock" http://engine/_ping 2>/dev/null; }

# The first network of 10.192 to 10.254 that nobody here has.
network() {
    local i second
    for i in $(seq 0 62); do
        second=$((192 + (hash + i) % 63))
        if ! ip -4 -o addr show | grep -q "inet 10\.$second\." && ! ip -4 route show | grep -q "^10\.$second\."; then
            echo "10.$second.0.0/24"
            return
        fi
    done
    return 1
}

network_config() {
    mkdir -p "$dir/cni"
    cat >"$dir/cni/87-podman.conflist" <<END
{"cniVersion": "0.4.0", "name": "podman", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/addresses", "ranges": [[{"subnet": "$1"}]]}}]}
END
}

stop() {
    local mount pid
    if [ -d "$dir/root" ] && command -v podman >/dev/null; then
        timeout 60 "${podman[@]}" rm --all --force --time 0 >/dev/null 2>&1 || true
    fi
    if [ -f "$pidfile" ]; then
        pid=$(cat "$pidfile")
        # Only what is ours: the number may be another's by now.
        ! tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$sock" || kill -TERM "$pid" 2>/dev/null || true
    fi
    { grep -o " $dir/[^ ]*" /proc/self/mountinfo || true; } | sort -ru | while read -r mount; do umount -l "$mount" || true; done
    ip link del "$bridge" 2>/dev/null || true
    rm -rf "$dir"
}

images() {
    local image=$dir/image
    mkdir -p "$image"
    cp "$1" "$image/httpd"
    tar -C "$image" -c . | curl -sS --fail --max-time 60 --unix-socket "$sock" -H 'Content-Type: application/x-tar' \
        -o "$dir/import" -X POST -T - \
        'http://engine/v1.41/images/create?fromSrc=-&repo=httpd:1&changes=ENTRYPOINT%20%5B%22%2Fhttpd%22%5D&changes=CMD%20%5B%228080%22%5D'
    ! grep -q '"error' "$dir/import" || { cat "$dir/import" >&2; return 1; }
    rm -rf "$image"
}

start() {
    [ "$(id -u)" = 0 ] || skip "needs root"
    for tool in podman ip curl; do
        command -v "$tool" >/dev/null || skip "there is no $tool here (Debian: apt-get install podman)"
    done
    [ -x /usr/lib/cni/bridge ] || skip "there is no /usr/lib/cni/bridge (Debian: apt-get install containernetworking-plugins)"
    stop
    network_config "$(network)"
    setsid nohup "${podman[@]}" system service --time 0 "unix://$sock" >"$dir/log" 2>&1 </dev/null &
    echo $! >"$pidfile"
    for _ in $(seq 200); do
        if up; then
            images "$1" || { stop; skip "cannot make its image"; }
            echo "unix://$sock"
            return
        fi
        sleep 0.05
    done
    local why
    why=$(tail -1 "$dir/log")
    stop
    skip "its service does not start: $why"
}

case $dir in
/tmp/chaos-load-?*) ;;
*)
    echo "usage: podman.sh start /tmp/chaos-load-X MINI_HTTP | stop /tmp/chaos-load-X" >&2
    exit 2
    ;;
esac
case ${1:-} in
start) start "${3:?the path of mini_http}" ;;
stop) stop ;;
*)
    echo "usage: podman.sh start|stop FOLDER" >&2
    exit 2
    ;;
esac
