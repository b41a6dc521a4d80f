#!/usr/bin/env bash
# The cluster's keys: CA, certificates of server and clients, the service accounts' key, kubeconfigs.
#   pki.sh FOLDER
set -euo pipefail

mkdir -p "$1"
cd "$1"
server=https://127.0.0.1:6443

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }

# certificate NAME SUBJECT [NAMES]
certificate() {
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    {
        echo "keyUsage=digitalSignature"
        echo "extendedKeyUsage=serverAuth,clientAuth"
        [ -z "${3:-}" ] || echo "subjectAltName=$3"
    } >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
}

kubeconfig() {
    cat >"$1.kubeconfig" <<END
---
{apiVersion: v1, kind: Config, current-context: x,
 contexts: [{name: x, context: {cluster: c, user: u}}],
 clusters: [{name: c, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 <ca.crt)}}],
 users: [{name: u, user: {client-certificate-data: $(base64 -w0 <"$1.crt"), client-key-data: $(base64 -w0 <"$1.key")}}]}
END
}

key ca
openssl req -x509 -new -key ca.key -days 3650 -subj /CN=tests -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
certificate apiserver /CN=kube-apiserver \
    "DNS:kubernetes.default.svc,DNS:kubernetes.default,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:10.244.0.1"
certificate kubelet /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:127.0.0.1,IP:10.244.0.1"
certificate admin /O=system:masters/CN=admin
certificate kcm /CN=system:kube-controller-manager
certificate sched /CN=system:kube-scheduler
certificate proxy /CN=system:kube-proxy
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
for user in admin kcm sched proxy kubelet; do
    kubeconfig "$user"
done
