# Keys, certificates, tokens and the files that clients use to reach the API server.
# shellcheck shell=bash

pki="$state/pki"

new_key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

make_authority() {
  new_key "$pki/ca.key"
  openssl req -x509 -new -key "$pki/ca.key" -days 365 -subj "/CN=$cluster" -out "$pki/ca.crt" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
}

# `issue NAME SUBJECT USAGE [ALTERNATIVE-NAMES]`
issue() {
  local name=$1 subject=$2 usage=$3 names=${4:-}
  new_key "$pki/$name.key"
  openssl req -new -key "$pki/$name.key" -subj "$subject" -out "$pki/$name.csr"
  {
    echo "basicConstraints=critical,CA:false"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$usage"
    [ -z "$names" ] || echo "subjectAltName=$names"
  } >"$pki/$name.ext"
  openssl x509 -req -in "$pki/$name.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 365 \
    -extfile "$pki/$name.ext" -out "$pki/$name.crt"
}

# `grant NAME USER GROUP`: a token for a user, and the file to use it with.
grant() {
  local name=$1 user=$2 group=$3 token
  token=$(openssl rand -hex 24)
  printf '%s,%s,%s,"%s"\n' "$token" "$user" "$name" "$group" >>"$pki/tokens.csv"
  printf '%s' "$token" >"$pki/$name.token"
  write_kubeconfig "$pki/$name.kubeconfig" "$token"
}

write_kubeconfig() {
  cat >"$1" <<END
apiVersion: v1
kind: Config
current-context: $cluster
contexts:
- name: $cluster
  context: {cluster: $cluster, user: $cluster, namespace: default}
clusters:
- name: $cluster
  cluster:
    server: https://$node_address:6443
    certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
users:
- name: $cluster
  user: {token: $2}
END
}

make_credentials() {
  [ ! -e "$pki/complete" ] || return 0
  rm -rf "$pki"
  (
    umask 077
    mkdir -p "$pki"
    make_authority
    issue apiserver "/CN=kube-apiserver" serverAuth \
      "IP:$node_address,IP:$first_service_address,IP:127.0.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    issue kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client" clientAuth
    issue kubelet "/O=system:nodes/CN=system:node:$cluster" serverAuth "IP:$node_address,DNS:$cluster"
    openssl genrsa -out "$pki/service-accounts.key" 2048
    grant admin admin system:masters
    grant controller-manager system:kube-controller-manager system:authenticated
    grant scheduler system:kube-scheduler system:authenticated
    grant kubelet "system:node:$cluster" system:nodes
    grant proxy system:kube-proxy system:authenticated
    grant storage standstill-storage system:authenticated
    cp "$pki/admin.kubeconfig" "$kubeconfig"
    touch "$pki/complete"
  ) 2>"$state/logs/credentials.log" || fail "the certificates could not be made; see $state/logs/credentials.log"
}
