# The control plane: etcd, the API server, the controller manager, the scheduler.
# shellcheck shell=bash

api() {
  curl --silent --fail --max-time 5 --cacert "$pki/ca.crt" "https://$node_address:6443$1"
}

write_audit_policy() {
  # One line per request that was answered; tests count them by user.
  cat >"$state/audit-policy.yaml" <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
END
}

start_etcd() {
  # Nothing here outlives the cluster, so nothing waits for the disk.
  start_inside etcd etcd --name "$cluster" --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
}

start_api_server() {
  is_running kube-apiserver && return
  write_audit_policy
  start_inside kube-apiserver "$kubernetes_binaries/kube-apiserver" \
    --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$node_address" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --client-ca-file="$pki/ca.crt" --token-auth-file="$pki/tokens.csv" \
    --authorization-mode=Node,RBAC --allow-privileged=true \
    --service-cluster-ip-range="$service_network" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$pki/service-accounts.key" \
    --service-account-signing-key-file="$pki/service-accounts.key" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --audit-policy-file="$state/audit-policy.yaml" --audit-log-path="$state/logs/audit.log"
}

start_controllers() {
  start_inside kube-controller-manager "$kubernetes_binaries/kube-controller-manager" \
    --kubeconfig="$pki/controller-manager.kubeconfig" --use-service-account-credentials \
    --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
    --bind-address=127.0.0.1 --leader-elect=false
  start_inside kube-scheduler "$kubernetes_binaries/kube-scheduler" \
    --kubeconfig="$pki/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false
}

await_api() {
  await 60 "the API server" api /readyz
}

api_as_admin() {
  # By standard input: a command line can be read by everybody.
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$pki/admin.token")" \
    | curl --config - --silent --fail --max-time 5 --cacert "$pki/ca.crt" "https://$node_address:6443$1"
}
