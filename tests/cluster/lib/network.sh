# One network namespace for the whole cluster, linked to the machine by a pair of virtual interfaces.
# shellcheck shell=bash

host_interface="${cluster:0:13}-h"
node_interface="${cluster:0:13}-n"

inside() {
  nsenter --net="$netns" "$@"
}

make_network() {
  if [ ! -e "$netns" ]; then
    ip netns add "$cluster"
    ip link delete "$host_interface" 2>/dev/null || true
  fi
  inside ip link set lo up
  if ! ip link show "$host_interface" >/dev/null 2>&1; then
    ip link add "$host_interface" type veth peer name "$node_interface" netns "$cluster"
    ip address add "$host_address/24" dev "$host_interface"
    ip link set "$host_interface" up
    inside ip address add "$node_address/24" dev "$node_interface"
    inside ip link set "$node_interface" up
    # Service addresses need a route, or nothing asks the rules that translate them.
    inside ip route add default via "$host_address"
  fi
  inside sh -c "echo 1 >/proc/sys/net/ipv4/ip_forward"
  inside sh -c "echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables" 2>/dev/null || true
}

remove_network() {
  ip link delete "$host_interface" 2>/dev/null || true
  [ ! -e "$netns" ] || ip netns delete "$cluster"
  # The first namespace of a machine makes this place; the last one takes it away.
  if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then
    umount /run/netns 2>/dev/null || true
    rmdir /run/netns 2>/dev/null || true
  fi
}
