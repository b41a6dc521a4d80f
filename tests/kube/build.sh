#!/usr/bin/env bash
# Builds Kubernetes and etcd for the tests, from the Go module proxy: six components in one binary.
#   build.sh FOLDER      binaries come to FOLDER/bin; what is there already is kept
# Five minutes on two cores when nothing is cached; a second afterwards.
set -euo pipefail

dir=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-p=2 -buildvcs=false -modcacherw"

version=v1.34.2
package=k8s.io/component-base/version # without these the server calls itself v0.0.0-master
flags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=34"
stamp=$(cat "$here"/hyperkube/* "$here"/etcd/* | sha256sum | cut -d' ' -f1)

command -v go >/dev/null || {
    echo "SKIP no Kubernetes: Go is not installed"
    exit 77
}
[ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ] || exit 0
mkdir -p "$dir/bin"
(cd "$here/hyperkube" && go build -trimpath -ldflags "$flags" -o "$dir/bin/hyperkube" .)
(cd "$here/etcd" && go build -trimpath -ldflags "-s -w" -o "$dir/bin/etcd" go.etcd.io/etcd/server/v3)
for component in apiserver controller-manager scheduler proxy; do
    ln -sf hyperkube "$dir/bin/kube-$component"
done
ln -sf hyperkube "$dir/bin/kubelet"
ln -sf hyperkube "$dir/bin/kubectl"
echo "$stamp" >"$dir/stamp"
