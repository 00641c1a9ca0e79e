# The node: containerd, kubelet, kube-proxy.
# shellcheck shell=bash

containerd_socket="$state/containerd/containerd.sock"

# Images and containers of Kubernetes lie in this namespace of containerd.
containers() {
  ctr --address "$containerd_socket" --namespace k8s.io "$@"
}

write_containerd_config() {
  cat >"$state/containerd.toml" <<END
version = 2
root = "$bulk/containerd"
state = "$state/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "$containerd_socket"
[plugins."io.containerd.internal.v1.opt"]
path = "$bulk/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "standstill.test/pause:1"
# Lowering the score of the out-of-memory killer takes a capability that not every virtual machine's root has.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$state/cni"
END
}

write_pod_network() {
  mkdir -p "$state/cni"
  cat >"$state/cni/10-pods.conflist" <<END
{
  "cniVersion": "0.4.0",
  "name": "$cluster",
  "plugins": [
    {
      "type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "$state/cni-leases",
        "ranges": [[{"subnet": "$pod_network"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
END
}

write_kubelet_config() {
  # There is no name server in the cluster, and pods shall not ask the machine's.
  echo "# no name server" >"$state/resolv.conf"
  cat >"$state/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
resolvConf: $state/resolv.conf
volumePluginDir: $bulk/kubelet-plugins
# The machine's disk may be as full as it likes: the images were not pulled and cannot be pulled again.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 50Mi}
kubeAPIQPS: 50
kubeAPIBurst: 100
END
}

write_proxy_config() {
  cat >"$state/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: $cluster
clusterCIDR: $pod_network
clientConnection: {kubeconfig: $pki/proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
# An answer that stays on the pods' bridge must still pass the rules that translate it back.
iptables: {masqueradeAll: true}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
END
}

# A configuration is written for a daemon that starts: kube-proxy, for one, ends when its own changes.
start_containerd() {
  is_running containerd && return
  write_containerd_config
  write_pod_network
  start_inside containerd unshare --mount --propagation slave \
    bash "$here/lib/node-mounts" "$bulk/node" "$state/run-containerd" containerd --config "$state/containerd.toml"
  await 30 "containerd" containers version
}

start_kubelet() {
  is_running kubelet && return
  write_kubelet_config
  start_beside_containerd kubelet "$kubernetes_binaries/kubelet" \
    --config="$state/kubelet.yaml" --kubeconfig="$pki/kubelet.kubeconfig" \
    --container-runtime=remote --container-runtime-endpoint="unix://$containerd_socket" \
    --pod-infra-container-image=standstill.test/pause:1 \
    --root-dir="$bulk/kubelet" --cert-dir="$pki/kubelet" --seccomp-profile-root="$bulk/kubelet/seccomp" \
    --hostname-override="$cluster" --node-ip="$node_address"
}

start_proxy() {
  is_running kube-proxy && return
  write_proxy_config
  start_beside_containerd kube-proxy "$kubernetes_binaries/kube-proxy" --config="$state/kube-proxy.yaml"
}

await_node() {
  await 90 "the node" kubectl_admin wait --for=condition=Ready --timeout=60s "node/$cluster"
  await 30 "the default service account" kubectl_admin --namespace default get serviceaccount default
}
