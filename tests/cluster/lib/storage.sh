# The disk of volumes and its controller, and the server that speaks S3.
# shellcheck shell=bash

make_disk() {
  mountpoint -q "$volumes" && return
  local image="$bulk/volumes.img" device
  mkdir -p "$volumes"
  if [ ! -e "$image" ]; then
    # Takes room as it is filled, and gives it back as it is emptied.
    truncate -s 32G "$image"
    mkfs.btrfs --quiet "$image" >"$state/logs/mkfs.log"
  fi
  device=$(losetup --find --show "$image")
  # Nothing here outlives the machine: a snapshot need not wait until the disk has everything.
  mount -t btrfs -o noatime,nobarrier,discard=async "$device" "$volumes"
}

remove_disk() {
  ! mountpoint -q "$volumes" || umount "$volumes" || umount --lazy "$volumes"
  [ -e "$bulk/volumes.img" ] || return 0
  local device
  while read -r device; do
    losetup --detach "$device" 2>/dev/null || true
  done < <(losetup --noheadings --output NAME --associated "$bulk/volumes.img")
}

# The kinds, the classes, the controller's rights: once per cluster.
apply_objects() {
  local mark="$state/objects" name digest
  digest=$(cat "$here"/manifests/{snapshot-crds,group-snapshot-crds,storage,snapshot-classes}.yaml | sha256sum)
  [ "$(cat "$mark" 2>/dev/null)" != "$digest" ] || return 0
  kubectl_admin apply --validate=false -f "$here/manifests/snapshot-crds.yaml" \
    -f "$here/manifests/group-snapshot-crds.yaml" -f "$here/manifests/storage.yaml" >&2
  for name in volumesnapshots volumesnapshotclasses volumesnapshotcontents; do
    await 30 "the kind $name" api_as_admin "/apis/snapshot.storage.k8s.io/v1/$name"
  done
  for name in volumegroupsnapshots volumegroupsnapshotclasses volumegroupsnapshotcontents; do
    await 30 "the kind $name" api_as_admin "/apis/groupsnapshot.storage.k8s.io/v1/$name"
  done
  kubectl_admin apply --validate=false -f "$here/manifests/snapshot-classes.yaml" >&2
  printf '%s\n' "$digest" >"$mark"
}

start_storage() {
  start_daemon storage python3 -B "$here/storage" --server "https://$node_address:6443" --authority "$pki/ca.crt" \
    --token "$pki/storage.token" --folder "$volumes" --node "$cluster"
}

build_s3_server() {
  [ -x "$cache/bin/s3s-fs" ] && return
  command -v cargo >/dev/null || fail "the S3 server s3s-fs is built with cargo, which is not there"
  say "building the S3 server s3s-fs, once"
  mkdir -p "$cache"
  CARGO_TARGET_DIR="$cache/s3s-target" nice -n 10 \
    cargo install --locked --root "$cache" s3s-fs --features binary >"$cache/s3s-build.log" 2>&1 \
    || fail "s3s-fs could not be built; see $cache/s3s-build.log"
  rm -rf "$cache/s3s-target"
}

# Outside the cluster's network, at the machine's end of the link: pods and the machine both reach it.
start_s3() {
  local key=standstill secret=standstill-test-secret
  mkdir -p "$bulk/s3/backups"
  ln -sfn "$bulk/s3" "$state/s3"
  (
    umask 077
    cat >"$state/s3.env" <<END
AWS_ACCESS_KEY_ID=$key
AWS_SECRET_ACCESS_KEY=$secret
AWS_DEFAULT_REGION=us-east-1
AWS_ENDPOINT_URL=http://$host_address:$s3_port
S3_BUCKET=backups
END
  )
  start_daemon s3 "$cache/bin/s3s-fs" --host "$host_address" --port "$s3_port" \
    --access-key "$key" --secret-key "$secret" "$bulk/s3"
}
