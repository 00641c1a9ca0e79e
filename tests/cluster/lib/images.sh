# Container images without a registry: made once, kept as files, imported into the cluster's own containerd.
# shellcheck shell=bash

images="$cache/images"
image_names=(pause tools databases mysql secantusdb)

# Texts as a list in JSON.
quoted() {
  local list
  list=$(printf '"%s",' "$@")
  printf '%s' "${list%,}"
}

# Writes an image of one layer, or of one on that of another image:
# `pack_image REFERENCE LAYER CONFIG FILE [OTHER]`. Takes the layer away.
pack_image() {
  local reference=$1 layer=$2 config=$3 file=$4 other=${5:-} folder part layers=() digests=()
  folder=$(mktemp -d "$(dirname "$file")/pack.XXXXXX")
  mv "$layer" "$folder/layer.tar"
  if [ -n "$other" ]; then
    tar -xOf "$other" layer.tar >"$folder/below.tar"
    layers+=(below.tar)
  fi
  layers+=(layer.tar)
  for part in "${layers[@]}"; do
    digests+=("sha256:$(sha256sum "$folder/$part" | cut -d' ' -f1)")
  done
  printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$config" "$(quoted "${digests[@]}")" >"$folder/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":[%s]}]' "$reference" "$(quoted "${layers[@]}")" \
    >"$folder/manifest.json"
  tar -C "$folder" -cf "$file.part" manifest.json config.json "${layers[@]}"
  mv "$file.part" "$file"
  rm -rf "$folder"
}

pack_tree() {
  chmod 0755 "$1"
  tar -C "$1" --numeric-owner --xattrs -cf "$2" .
}

build_pause() {
  local tree
  tree=$(mktemp -d "$images/tree.XXXXXX")
  gcc -static -Os -o "$tree/pause" "$here/images/pause.c"
  pack_tree "$tree" "$images/layer.tar"
  rm -rf "$tree"
  pack_image standstill.test/pause:1 "$images/layer.tar" '{"Entrypoint":["/pause"],"User":"65535"}' "$1"
}

build_tools() {
  local tree
  tree=$(mktemp -d "$images/tree.XXXXXX")
  mkdir -p "$tree/bin" "$tree/etc" "$tree/tmp"
  chmod 1777 "$tree/tmp"
  cp /bin/busybox "$tree/bin/busybox"
  local applet
  for applet in $("$tree/bin/busybox" --list | grep -vx busybox); do ln -s busybox "$tree/bin/$applet"; done
  echo 'root:x:0:0:root:/:/bin/sh' >"$tree/etc/passwd"
  pack_tree "$tree" "$images/layer.tar"
  rm -rf "$tree"
  pack_image standstill.test/tools:1 "$images/layer.tar" '{"Cmd":["/bin/sh"],"Env":["PATH=/bin"]}' "$1"
}

debian_mirror() {
  "$here/../debian-mirror"
}

build_databases() {
  local tree
  tree=$(mktemp -d "$images/tree.XXXXXX")
  say "making the image of the databases, once: this takes some minutes"
  # Mounts of the build end with its namespace, whatever becomes of it.
  nice -n 5 unshare --mount --propagation private bash "$here/images/databases/build" "$tree" "$(debian_mirror)" \
    >"$images/databases.log" 2>&1 || fail "the image of the databases could not be made; see $images/databases.log"
  pack_tree "$tree" "$images/layer.tar"
  rm -rf "$tree"
  pack_image standstill.test/databases:1 "$images/layer.tar" \
    '{"Cmd":["/bin/bash"],"Env":["PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"]}' "$1"
}

# Debian has MySQL in its unstable branch only, which not every mirror carries: without it this image is not there, and
# its tests say that they are skipped.
build_mysql() {
  local tree
  if ! "$here/../unpack-mysql" "$cache/mysql" >"$images/mysql.log" 2>&1; then
    say "MySQL is not to be had, so there is no image of it; see $images/mysql.log"
    return 0
  fi
  tree=$(mktemp -d "$images/tree.XXXXXX")
  bash "$here/images/mysql/build" "$tree" "$cache/mysql/root"
  pack_tree "$tree" "$images/layer.tar"
  rm -rf "$tree"
  pack_image standstill.test/mysql:1 "$images/layer.tar" '{"Cmd":["/bin/sh"],"Env":["PATH=/usr/local/bin:/usr/bin:/usr/sbin"]}' "$1"
}

# A server of its own that speaks MongoDB's protocol, from a Python package that `./test` installs: on the databases'
# image, which has Python. Without it this image is not there, and its tests say that they are skipped.
build_secantusdb() {
  local tree packages="$cache/secantus/lib/python3.11/site-packages"
  if [ ! -d "$packages/secantus" ]; then
    say "SecantusDB is not to be had, so there is no image of it; ./test installs it"
    return 0
  fi
  tree=$(mktemp -d "$images/tree.XXXXXX")
  mkdir -p "$tree/opt/secantusdb" "$tree/usr/bin"
  tar -C "$packages" --exclude=./pip --exclude=./setuptools -cf - . | tar -C "$tree/opt/secantusdb" -xf -
  install -m 0755 "$here/images/secantusdb/mongod" "$tree/usr/bin/mongod"
  pack_tree "$tree" "$images/layer.tar"
  rm -rf "$tree"
  pack_image standstill.test/secantusdb:1 "$images/layer.tar" \
    '{"Cmd":["/bin/bash"],"Env":["PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"]}' "$1" "$(image_file databases)"
}

# What an image is made from decides its file's name: another recipe, another file.
image_file() {
  local digest
  digest=$({
    declare -f "build_$1"
    case "$1" in
      pause) cat "$here/images/pause.c" ;;
      databases) cat "$here"/images/databases/* ;;
      mysql) cat "$here"/images/mysql/* "$here/../unpack-mysql" ;;
      secantusdb) cat "$here"/images/secantusdb/* && image_file databases ;;
    esac
  } | sha256sum | cut -c1-16)
  printf '%s/%s-%s.tar\n' "$images" "$1" "$digest"
}

build_images() {
  mkdir -p "$images"
  # Of builds that did not come to their end.
  rm -rf "$images"/{tree,pack}.* "$images"/*.part
  local name file
  for name in "${image_names[@]}"; do
    file=$(image_file "$name")
    [ -e "$file" ] && continue
    rm -f "$images/$name"-*.tar
    "build_$name" "$file"
  done
}

import_images() {
  local name file mark
  mkdir -p "$state/images"
  for name in "${image_names[@]}"; do
    file=$(image_file "$name")
    mark="$state/images/$(basename "$file")"
    { [ -e "$mark" ] || [ ! -e "$file" ]; } && continue
    containers images import "$file" >/dev/null
    touch "$mark"
  done
}
