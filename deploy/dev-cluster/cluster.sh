#!/bin/bash
# cluster.sh: a real one-node Kubernetes on this machine, for development and tests.
#
#   cluster.sh up                  build what is missing, start, wait until the node is Ready
#   cluster.sh down                stop at once, as a power cut would; `up` brings the same cluster back
#   cluster.sh clean               down, and delete its state; the built binaries stay in the cache
#   cluster.sh status              exit 0: ready, 1: starting, 3: not running
#   cluster.sh kubeconfig          print the path of the administrator's kubeconfig
#   cluster.sh kubectl ARGS...     the matching kubectl, as administrator
#   cluster.sh kubectl-path        print where that is
#   cluster.sh load IMAGE.tar...   import images (`docker save` or OCI layout), for pods with imagePullPolicy Never or IfNotPresent
#   cluster.sh unload NAME...      remove images of these names, which stay for what runs
#   cluster.sh restart NAME [SECONDS]   kill -9 one component and start it again after SECONDS (default 0):
#                                  etcd containerd apiserver controller-manager scheduler kubelet relay
#   cluster.sh stop|start NAME     the two halves of restart
#   cluster.sh freeze|thaw NAME    SIGSTOP and SIGCONT to one component
#   cluster.sh compact             etcd forgets all versions but the latest: older watches have to begin again
#   cluster.sh possible            exit 0 if a cluster can run on this machine, else 1, and say why not
#   cluster.sh install             install the packages that are missing
#   cluster.sh build               fill the cache folder, which `up` does as well
#
# The whole cluster is one process tree in mount, process and network
# namespaces of its own (see node.sh). The machine sees of it: that tree, one
# loopback port, a cgroup, and the state folder. Killing the tree's root ends
# all of it, pods and mounts included.
#
# Settings (environment): OCTAVIUS_KUBE_STATE and OCTAVIUS_KUBE_CACHE (folders, see lib.sh),
# OCTAVIUS_KUBE_PORT (default: a free one, kept for the next `up`),
# OCTAVIUS_KUBE_LOG_MAX (size at which container logs are rotated, default 10Mi),
# OCTAVIUS_KUBE_POD_GC (of more finished pods the oldest are deleted, default 12500).
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

CGROUP=octavius-$(sha256sum <<<"$STATE" | cut -c1-8)
KUBECTL=("$CACHE/bin/kubectl" "--kubeconfig=$STATE/kubeconfig" "--cache-dir=$STATE/kubectl-cache")

# The cluster's processes hold a lock on this file until the last one is gone.
# Looking takes a shared one, so that who looks at the same time sees the same.
alive() { [ -e "$STATE/alive" ] && ! flock --shared --nonblock "$STATE/alive" true; }
enter() { nsenter --target "$(cat "$STATE/run/init.pid")" --mount --pid --net -- "$@"; }
running() { alive || { say "not running"; exit 3; }; }

lock() { # one command at a time; `clean` may have moved the folder away while we waited
  while :; do
    mkdir -p "$STATE"
    exec 9>"$STATE/lock"
    flock 9
    [ "$STATE/lock" -ef /proc/self/fd/9 ] && return
  done
}

# --- up ---------------------------------------------------------------------

certificate() { # certificate NAME SUBJECT USAGE [SUBJECT-ALT-NAMES]
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "$2" -keyout "$1.key" -out "$1.crt" \
    -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE \
    -addext keyUsage=critical,digitalSignature -addext "extendedKeyUsage=$3" ${4:+-addext "subjectAltName=$4"} 2>/dev/null
}

make_pki() ( # a subshell: works in a folder that gets its name when all is in it
  [ -d "$STATE/pki" ] && return
  umask 077
  rm -rf "$STATE/pki.new"; mkdir "$STATE/pki.new"; cd "$STATE/pki.new"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj /CN=octavius-dev-ca -keyout ca.key -out ca.crt \
    -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
  certificate apiserver /CN=kube-apiserver serverAuth \
    "IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate kubelet-server "/CN=$NODE" serverAuth "IP:$NODE_IP,DNS:$NODE"
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate kubelet "/O=system:nodes/CN=system:node:$NODE" clientAuth
  certificate controller-manager /CN=system:kube-controller-manager clientAuth
  certificate scheduler /CN=system:kube-scheduler clientAuth
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out service-accounts.key
  openssl pkey -in service-accounts.key -pubout -out service-accounts.pub
  mv "$STATE/pki.new" "$STATE/pki"
)

write_kubeconfig() { # write_kubeconfig NAME URL FILE: the credentials are in the file itself
  local d=$STATE/pki
  (umask 077; cat >"$3.new") <<K
apiVersion: v1
kind: Config
clusters: [{name: octavius-dev, cluster: {server: "$2", certificate-authority-data: "$(base64 -w0 "$d/ca.crt")"}}]
users: [{name: "$1", user: {client-certificate-data: "$(base64 -w0 "$d/$1.crt")", client-key-data: "$(base64 -w0 "$d/$1.key")"}}]
contexts: [{name: octavius-dev, context: {cluster: octavius-dev, user: "$1"}}]
current-context: octavius-dev
K
  mv "$3.new" "$3"
}

make_cgroup() { # the kubelet wants its root in each hierarchy to exist
  local d
  for d in /sys/fs/cgroup/*/; do
    if [ ! -e "$d/cgroup.procs" ] || [ -e "$d/cgroup.controllers" ]; then continue; fi # not: the v2 part of a hybrid set-up
    mkdir -p "$d$CGROUP"
    for f in cpuset.cpus cpuset.mems; do [ ! -e "$d$f" ] || cat "$d$f" >"$d$CGROUP/$f"; done
  done
}

launch() { # launch ADDRESS: into the background, in namespaces of its own
  rm -rf "$STATE/run" "$STATE/kubeconfig"; mkdir -p "$STATE/run"
  OCTAVIUS_KUBE_STATE=$STATE OCTAVIUS_KUBE_CACHE=$CACHE CGROUP=$CGROUP \
    setsid "$CACHE/bin/relay" listen "$1" "$STATE/run/address" \
    unshare --mount --pid --net --fork --kill-child "$HERE/node.sh" </dev/null >>"$STATE/logs/node.log" 2>&1 9>&- &
  disown
  local i
  for i in {1..50}; do [ -e "$STATE/run/address" ] && return; kill -0 $! 2>/dev/null || return 1; sleep .05; done
  return 1
}

possible() {
  [ "$(id -u)" = 0 ] || die "needs root: it makes namespaces, mounts and cgroups"
  [ -d /sys/fs/cgroup/memory ] || die "needs cgroup v1 (or hybrid) at /sys/fs/cgroup; v2 alone is not supported"
  command -v apt-get dpkg-query | wc -l | grep -qx 2 || die "needs Debian: its packages, and its source of Kubernetes"
  unshare --mount --pid --net --fork true 2>/dev/null || die "needs namespaces of its own, which this machine does not give"
  case "$STATE/ $CACHE/ $HERE/" in *' /run/'*|/run/*|*' /var/lib/'*|/var/lib/*|*' /var/log/'*|/var/log/*)
    die "the folders must not be under /run, /var/lib or /var/log: the cluster has its own there";; esac
}

ready() { alive && [ -e "$STATE/run/ready" ] && [ -e "$STATE/kubeconfig" ]; }

up() {
  lock # an `up` that is under way has its end first
  if ready; then say "is up; export KUBECONFIG=$STATE/kubeconfig"; return; fi
  exec 9>&- # nobody shall wait for a build only to stop
  possible
  need "${RUNTIME_PACKAGES[@]}"
  "$HERE/build.sh"
  lock
  rm -rf "$STATE".trash.*
  mkdir -p "$STATE/logs"
  make_pki
  exec 8>"$STATE/alive"
  if ! alive && flock --timeout 5 8; then
    make_cgroup
    local port; port=${OCTAVIUS_KUBE_PORT:-$(cat "$STATE/port" 2>/dev/null || echo 0)}
    launch "127.0.0.1:$port" || { [ -z "${OCTAVIUS_KUBE_PORT:-}" ] && launch 127.0.0.1:0; } || die "could not start: $(tail -n3 "$STATE/logs/node.log")"
  fi
  exec 8>&-
  local address i
  for i in {1..50}; do [ ! -e "$STATE/run/address" ] || break; sleep .1; done # started by an `up` that was killed just now
  address=$(cat "$STATE/run/address")
  echo "${address##*:}" >"$STATE/port"
  write_kubeconfig admin "https://$address" "$STATE/kubeconfig"
  for ((i = 0; i < 1200; i++)); do
    [ -e "$STATE/run/ready" ] && { say "ready after ${SECONDS}s; export KUBECONFIG=$STATE/kubeconfig"; return; }
    alive || die "died while starting; see $STATE/logs"
    sleep .1
  done
  die "not ready after 2 minutes; see $STATE/logs"
}

# --- the other commands -----------------------------------------------------

down() {
  [ -e "$STATE" ] || return 0
  lock
  local i
  for i in {1..100}; do # process 1 writes its number first thing
    alive || break
    [ ! -e "$STATE/run/init.pid" ] || kill -9 "$(cat "$STATE/run/init.pid")" 2>/dev/null || true
    flock --timeout 0.1 "$STATE/alive" true && break
  done
  ! alive || die "still running: $(cat "$STATE/run/init.pid")"
  rm -rf "$STATE/run"
  local d
  for d in /sys/fs/cgroup/*/"$CGROUP"; do [ ! -d "$d" ] || find "$d" -depth -type d -exec rmdir {} +; done
}

clean() {
  down
  if [ -e "$STATE" ]; then mv "$STATE" "$STATE.trash.$$"; fi # gone at once, even if we are killed now
  rm -rf "$STATE".trash.*
  [[ $STATE != */octavius/dev-cluster ]] || rmdir --ignore-fail-on-non-empty "${STATE%/*}" 2>/dev/null || true
}

status() {
  running
  local f name
  for f in "$STATE"/run/*.pid; do
    name=$(basename "$f" .pid); [ "$name" = init ] && continue
    if enter test -d "/proc/$(cat "$f")"; then say "$name runs"; else say "$name does not run"; fi
  done
  [ -e "$STATE/run/ready" ] || { say "starting"; exit 1; }
  "${KUBECTL[@]}" get nodes
  "${KUBECTL[@]}" get pods --all-namespaces
}

load() {
  running
  local f
  for f; do enter ctr --namespace k8s.io images import - <"$f"; done
}

unload() {
  running
  enter ctr --namespace k8s.io images remove "${@/#/docker.io/library/}"
}

# signal SIGNAL NAME: to a component.
signal() {
  [ -e "$STATE/run/$2.pid" ] || die "no component $2"
  enter bash -c "kill -$1 $(cat "$STATE/run/$2.pid")" || true
}

stop() {
  running
  [ -e "$STATE/run/$1.pid" ] || die "no component $1"
  touch "$STATE/run/$1.stopped" # before the kill: else it is started again
  signal KILL "$1"
}

start() { running; rm -f "$STATE/run/$1.stopped"; }
restart() { stop "$1"; sleep "${2:-0}"; start "$1"; }
freeze() { running; signal STOP "$1"; }
thaw() { running; signal CONT "$1"; }

# post PATH MESSAGE: to etcd, through its JSON gateway, because Debian's etcd-server brings no client.
post() {
  # shellcheck disable=SC2016 # it is the inner shell that expands them
  enter bash -c 'exec 5<>/dev/tcp/127.0.0.1/2379
    printf "POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" "$1" "${#2}" "$2" >&5; cat <&5' post "$@"
}

compact() {
  running
  local latest
  latest=$(post /v3/kv/range '{"key":"AA=="}' | grep -o '"revision":"[0-9]*"' | grep -o '[0-9]*') || die "etcd does not answer"
  post /v3/kv/compaction "{\"revision\":$latest,\"physical\":true}" | grep -q '200 OK' || die "etcd did not compact"
}

case ${1:-} in
  up|down|clean|status|compact|possible) "$1" ;;
  install) possible; need "${RUNTIME_PACKAGES[@]}" "${BUILD_PACKAGES[@]}" ;;
  build) possible; exec "$HERE/build.sh" ;;
  kubeconfig) echo "$STATE/kubeconfig" ;;
  kubectl-path) echo "$CACHE/bin/kubectl" ;;
  kubectl) shift; running; exec "${KUBECTL[@]}" "$@" ;;
  load|unload|restart|stop|start|freeze|thaw) [ $# -gt 1 ] || die "$1 what?"; "$@" ;;
  *) sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
