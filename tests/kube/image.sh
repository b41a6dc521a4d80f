#!/usr/bin/env bash
# An image archive from a folder: no builder, no registry.
#   image.sh NAME:TAG ROOTFS OUT.tar ENTRYPOINT-JSON [USER]
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$2" -cf "$work/layer.tar" .
layer=$(sha256sum <"$work/layer.tar" | cut -d' ' -f1)
cat >"$work/config.json" <<END
{"architecture": "amd64", "os": "linux",
 "config": {"Entrypoint": $4, "User": "${5:-}", "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/sbin"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}, "history": [{"created_by": "image.sh"}]}
END
printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": ["layer.tar"]}]' "$1" >"$work/manifest.json"
tar -C "$work" -cf "$3" manifest.json config.json layer.tar
