#!/bin/bash
# executor-kubeconfig.sh NAMESPACE FILE [ID...]: make the namespace, the ServiceAccount
# octavius-executor with the rights in executor-role.yaml, and a kubeconfig for
# it: for an executor outside the cluster with this `id` (else `kubernetes`), or several
# with one each. An ID with capitals, `_` or `.` is given as its ConfigMap is named, without
# `octavius-`: the executor says it. May be run again. KUBECONFIG and
# KUBECTL say which cluster and which kubectl; the caller must be an administrator.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: executor-kubeconfig.sh NAMESPACE FILE [ID...]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
namespace=$1 file=$2
shift 2; [ $# -gt 0 ] || set -- kubernetes
places=$(printf ', octavius-%s' "$@")
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
kubectl() { "${KUBECTL:-kubectl}" --cache-dir "$scratch" "$@"; }

{
  cat <<K
apiVersion: v1
kind: Namespace
metadata: {name: "$namespace"}
---
K
  sed "s/namespace: octavius\$/namespace: $namespace/; s/\[octavius-kubernetes\]/[${places:2}]/" \
    "$here/executor-role.yaml"
  # A token in a Secret of its own: clusters from 1.24 on make none by themselves.
  cat <<K
---
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: octavius-executor-token, annotations: {kubernetes.io/service-account.name: octavius-executor}}
K
} | kubectl -n "$namespace" apply -f - >&2

token=
for _ in {1..100}; do
  token=$(kubectl -n "$namespace" get secret octavius-executor-token -o 'jsonpath={.data.token}' | base64 -d)
  [ -z "$token" ] || break
  sleep .1
done
[ -n "$token" ] || { echo "the cluster gave octavius-executor no token" >&2; exit 1; }

cluster='{.clusters[0].cluster.server} {.clusters[0].cluster.certificate-authority-data}'
read -r server authority < <(kubectl config view --raw --minify --flatten -o "jsonpath=$cluster"; echo)
umask 077
cat >"$file.new" <<K
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "$server", certificate-authority-data: "$authority"}}]
users: [{name: octavius-executor, user: {token: "$token"}}]
contexts: [{name: executor, context: {cluster: cluster, user: octavius-executor, namespace: "$namespace"}}]
current-context: executor
K
mv "$file.new" "$file"
