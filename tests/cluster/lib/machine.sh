# What the machine must have: whether it can carry the cluster at all, and Debian's packages.
# shellcheck shell=bash

packages=(
  btrfs-progs busybox-static ca-certificates conntrack containerd containernetworking-plugins curl debootstrap
  dpkg-dev ebtables ethtool etcd-server gcc iproute2 iptables kmod libc6-dev make openssl python3-minimal rsync runc
  socat util-linux
)
# Only for the build of Kubernetes.
build_packages=(golang-go golang-github-modern-go-reflect2-dev)

check_machine() {
  [ "$(id -u)" = 0 ] || cannot "the cluster needs root"
  [ "$(uname -sm)" = "Linux x86_64" ] || cannot "the cluster runs on Linux on x86_64, not on $(uname -sm)"
  command -v dpkg-query >/dev/null || cannot "the cluster is made of Debian's packages, and this is not Debian"
  local hierarchy
  for hierarchy in cpu cpuacct cpuset memory pids; do
    [ -d "/sys/fs/cgroup/$hierarchy" ] \
      || cannot "the cluster needs the cgroup hierarchies of version 1, and this machine has no $hierarchy among them"
  done
  unshare --net --mount true 2>/dev/null || cannot "no namespaces can be made here"
  losetup --find >/dev/null 2>&1 || cannot "there is no free loop device"
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || cannot "the kernel has no overlayfs"
  grep -qw btrfs /proc/filesystems || modprobe btrfs 2>/dev/null || cannot "the kernel has no btrfs"
}

is_installed() {
  dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# Installs what is missing of the named packages, without starting any service of theirs.
install_packages() {
  local missing=() package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  local options=(-qq -y -o DPkg::Lock::Timeout=600)
  apt-get "${options[@]}" update >&2 || say "the package lists could not all be brought up to date"
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
  fi
  local status=0
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get "${options[@]}" install --no-install-recommends "${missing[@]}" >/dev/null || status=$?
  [ -z "$ours" ] || rm -f "$policy"
  [ "$status" = 0 ] || fail "the packages could not be installed"
}

install_kubectl() {
  command -v kubectl >/dev/null || install_packages kubernetes-client
}
