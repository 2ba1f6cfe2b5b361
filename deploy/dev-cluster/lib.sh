# Where things are, for all scripts of this folder. Source it, do not run it.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KUBE_VERSION=1.20.2

# Built binaries and images: kept between runs, safe to share and to delete.
CACHE=${OCTAVIUS_KUBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/octavius/kubernetes-$KUBE_VERSION}
# One cluster: its data, keys, logs and kubeconfig. Another folder is another cluster.
STATE=${OCTAVIUS_KUBE_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/octavius/dev-cluster}
CACHE=$(realpath -m "$CACHE") STATE=$(realpath -m "$STATE")

BINARIES=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)
TOOLS=(pause hello relay)              # src/*.go
IMAGES=(pause busybox hello)

# Inside the cluster's own network namespace; nothing outside it sees these.
NODE=octavius-dev
NODE_IP=10.88.77.1            # the bridge octavius0: the node, and the pods' gateway
POD_SUBNET=10.88.77.0/24
SERVICE_SUBNET=10.88.79.0/24
API_SERVICE_IP=10.88.79.1     # the Service `kubernetes`

say() { printf 'dev-cluster: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Debian's packages: what runs, and what build.sh needs besides.
RUNTIME_PACKAGES=(containerd runc etcd-server containernetworking-plugins iproute2 openssl)
BUILD_PACKAGES=(busybox-static debian-archive-keyring patch xz-utils)

# need PACKAGE...: install those that are missing.
need() {
  local p missing=()
  for p; do dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || missing+=("$p"); done
  [ ${#missing[@]} = 0 ] && return
  local line="apt-get install -y -o DPkg::Lock::Timeout=300 --no-install-recommends ${missing[*]}"
  [ "$(id -u)" = 0 ] || die "please run as root: $line"
  say "$line"
  apt-get -qq update
  # In this runlevel no service is started where it is not systemd that starts them.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $line </dev/null >/dev/null
}
