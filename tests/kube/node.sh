#!/usr/bin/env bash
# A whole Kubernetes node: the first process of namespaces of its own, which end with it and take all pods,
# daemons, mounts, bridges and rules along. Started by cluster.sh.
#   env: D = state folder, B = binaries, IMAGES = folder of image archives
set -euo pipefail

export PATH=$B:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
pki=$D/pki
local=http://127.0.0.1

network() {
    mount --make-rprivate /
    hostname node1
    ip link set lo up
    sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
    ip link add cni0 type bridge
    ip addr add 10.244.0.1/24 dev cni0
    ip link set cni0 up
    ip route add default dev cni0 # leads nowhere; the Service range needs some route
}

# Paths that containerd, CNI and kubelet have fixed: each node has its own.
folders() {
    local folder controller file
    mkdir -p "$D/cni" "$D/plugins" /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers
    for folder in /run /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers; do
        mount -t tmpfs tmpfs "$folder"
    done
    for controller in /sys/fs/cgroup/*/; do
        mkdir -p "$controller/hkube" 2>/dev/null || true
    done
    for file in cpus mems; do
        cat "/sys/fs/cgroup/cpuset/cpuset.$file" >"/sys/fs/cgroup/cpuset/hkube/cpuset.$file"
    done
    echo 'nameserver 10.96.0.10' >"$D/resolv.conf"
}

configure() {
    cat >"$D/cni/10-bridge.conflist" <<END
{"cniVersion": "0.4.0", "name": "n", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
    cat >"$D/containerd.toml" <<END
version = 2
root = "$D/ctd"
state = "$D/ctd-state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper"]
grpc.address = "$D/ctd.sock"
debug.level = "warn"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "local/pause:1"
disable_apparmor = true
restrict_oom_score_adj = true
cni.bin_dir = "/usr/lib/cni"
cni.conf_dir = "$D/cni"
containerd.snapshotter = "overlayfs"
containerd.runtimes.runc.runtime_type = "io.containerd.runc.v2"
containerd.runtimes.runc.options.SystemdCgroup = false
END
    # A file that began with a brace would be read as JSON.
    cat >"$D/kubelet.yaml" <<END
---
{apiVersion: kubelet.config.k8s.io/v1beta1, kind: KubeletConfiguration, cgroupDriver: cgroupfs, cgroupRoot: /hkube,
 failCgroupV1: false, failSwapOn: false, protectKernelDefaults: false, makeIPTablesUtilChains: false,
 localStorageCapacityIsolation: false, enforceNodeAllocatable: [], evictionHard: {memory.available: 50Mi},
 imageGCHighThresholdPercent: 100, imageGCLowThresholdPercent: 99, containerRuntimeEndpoint: "unix://$D/ctd.sock",
 resolvConf: $D/resolv.conf, clusterDomain: cluster.local, clusterDNS: [10.96.0.10], volumePluginDir: $D/plugins,
 tlsCertFile: $pki/kubelet.crt, tlsPrivateKeyFile: $pki/kubelet.key, readOnlyPort: 0, syncFrequency: 10s,
 nodeStatusUpdateFrequency: 5s, maxPods: 60, authorization: {mode: Webhook},
 authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}}
END
}

start() {
    local name=$1
    shift
    "$@" >"$D/log/$name" 2>&1 &
}

start_apiserver() {
    start apiserver kube-apiserver --etcd-servers=$local:2379 --bind-address=0.0.0.0 --secure-port=6443 \
        --advertise-address=10.244.0.1 --service-cluster-ip-range=10.96.0.0/16 \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/sa.pub" \
        --service-account-signing-key-file="$pki/sa.key" --client-ca-file="$pki/ca.crt" \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --authorization-mode=Node,RBAC \
        --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
        --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --allow-privileged=true --profiling=false
    echo $! >"$D/apiserver.pid"
}

start_control_plane() {
    start etcd etcd --name n --data-dir "$D/etcd" --listen-client-urls $local:2379 --advertise-client-urls $local:2379 \
        --listen-peer-urls $local:2380 --initial-advertise-peer-urls $local:2380 --initial-cluster n=$local:2380
    start containerd containerd -c "$D/containerd.toml"
    start_apiserver
    until kubectl --kubeconfig="$pki/admin.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep .1; done
    start kcm kube-controller-manager --kubeconfig="$pki/kcm.kubeconfig" --service-account-private-key-file="$pki/sa.key" \
        --root-ca-file="$pki/ca.crt" --use-service-account-credentials=true --leader-elect=false --bind-address=127.0.0.1 \
        --flex-volume-plugin-dir="$D/plugins"
    start scheduler kube-scheduler --kubeconfig="$pki/sched.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
}

start_node() {
    local archive
    until ctr -a "$D/ctd.sock" version >/dev/null 2>&1; do sleep .1; done
    for archive in "$IMAGES"/*.tar; do
        ctr -a "$D/ctd.sock" -n k8s.io images import "$archive"
    done
    start kubelet kubelet --config="$D/kubelet.yaml" --kubeconfig="$pki/kubelet.kubeconfig" --hostname-override=node1 \
        --node-ip=10.244.0.1 --root-dir="$D/kubelet" --cert-dir="$D/kubelet/pki"
    start proxy kube-proxy --kubeconfig="$pki/proxy.kubeconfig" --hostname-override=node1 --proxy-mode=nftables \
        --cluster-cidr=10.244.0.0/24 --bind-address=127.0.0.1 --conntrack-max-per-core=0 \
        --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

trap 'exit 0' TERM INT # the kernel ends every process of a pid namespace with its first one
network
folders
configure
start_control_plane
start_node
# A test may end the API server; asked by SIGUSR1, it is started again.
trap 'start_apiserver' USR1
set +e
while :; do
    wait -n
    sleep .2
done
