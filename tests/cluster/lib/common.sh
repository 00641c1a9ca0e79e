# Names, places and small helpers that every other file here uses. Sourced, never run.
# shellcheck shell=bash

# One machine may carry several clusters of different names and networks.
cluster="${STANDSTILL_CLUSTER:-standstill}"
# The first three numbers of the link between the machine (.1) and the cluster (.2).
link="${STANDSTILL_CLUSTER_LINK:-10.99.0}"
host_address="$link.1"
node_address="$link.2"
pod_network=10.98.0.0/16
service_network=10.96.0.0/16
first_service_address=10.96.0.1
s3_port=9000

state="${STANDSTILL_CLUSTER_DIR:-/run/$cluster-cluster}"
# What is big lies on a disk: /run is memory on most machines.
bulk="${STANDSTILL_CLUSTER_BULK:-/var/tmp/$cluster-cluster}"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/standstill"
kubeconfig="$state/kubeconfig"
volumes="$bulk/volumes"

kubernetes_version=1.20.2
kubernetes_binaries="$cache/kubernetes-$kubernetes_version"

say() {
  printf 'cluster: %s\n' "$*" >&2
}

fail() {
  printf 'cluster: error: %s\n' "$*" >&2
  exit 1
}

# This machine cannot carry the cluster: tests that need it are skipped, with this reason.
cannot() {
  printf 'cluster: skipped: %s\n' "$*" >&2
  exit 77
}

# Waits until a command succeeds: `await SECONDS "WHAT" COMMAND…`.
await() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$what did not come within its time; see the logs in $state/logs"
    sleep 0.1
  done
}

# Only one `up` or `down` of a machine works at a time. Daemons must not inherit this (they close descriptor 9).
take_turn() {
  mkdir -p "$cache"
  exec 9>"$cache/cluster.lock"
  flock -w 1800 9 || fail "another up or down has been working for half an hour"
}

kubectl_admin() {
  kubectl --kubeconfig "$kubeconfig" "$@"
}
