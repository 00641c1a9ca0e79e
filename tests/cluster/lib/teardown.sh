# The end of a cluster, whole or half made.
# shellcheck shell=bash

# Removes a folder of ours: one that carries our mark.
remove_folder() {
  [ -e "$1/.standstill-cluster" ] || return 0
  local mount
  # The deepest first.
  while read -r mount; do
    umount "$mount" 2>/dev/null || umount --lazy "$mount" 2>/dev/null || true
  done < <(findmnt --raw --noheadings --output TARGET | grep -F "$1/" | sort -r)
  rm -rf --one-file-system "$1"
}

tear_down() {
  kill_processes || say "some processes do not end: $(processes | tr '\n' ' ')"
  remove_disk
  remove_network
  remove_cgroups
  # Removing it would take the mount upon it from another cluster.
  grep -qs ' /run/containerd ' /proc/[0-9]*/mountinfo || rmdir /run/containerd 2>/dev/null || true
  remove_folder "$bulk"
  remove_folder "$state"
}

# What is still there of a cluster, one line each.
remains() {
  local group
  processes | sed 's/^/the process /'
  [ ! -e "$netns" ] || echo "the network namespace $netns"
  ! ip link show "$host_interface" >/dev/null 2>&1 || echo "the interface $host_interface"
  losetup --noheadings --output NAME,BACK-FILE | grep -F "$bulk/" | sed 's/^/the loop device /' || true
  findmnt --raw --noheadings --output TARGET | grep -F -e "$bulk/" -e "$state/" | sed 's/^/the mount /' || true
  for group in "$cgroups"/*/"$cluster"; do
    [ ! -d "$group" ] || echo "the control group $group"
  done
  for group in "$bulk" "$state"; do
    [ ! -e "$group" ] || echo "the folder $group"
  done
}
