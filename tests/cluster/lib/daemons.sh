# The cluster's processes: started in control groups of the cluster's own, recorded by pid and start time.
# shellcheck shell=bash

cgroups=/sys/fs/cgroup
netns="/var/run/netns/$cluster"

# When a process started, in clock ticks since boot: with its pid, this names it beyond doubt.
start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name in parentheses may hold blanks: count from behind it. It is field 22, the 20th from there.
  read -r -a fields <<<"${stat##*) }"
  # A zombie has ended.
  [ "${fields[0]}" != Z ] && printf '%s\n' "${fields[19]}"
}

daemon_pid() {
  local pid started
  read -r pid started 2>/dev/null <"$state/daemons/$1" || return 1
  [ "$(start_time "$pid")" = "$started" ] && printf '%s\n' "$pid"
}

is_running() {
  daemon_pid "$1" >/dev/null
}

make_cgroups() {
  mkdir -p "$cgroups/pids/$cluster/daemons"
}

# Starts a daemon unless it runs: `start_daemon NAME COMMAND…`. The command must stay in the foreground.
start_daemon() {
  local name=$1
  shift
  is_running "$name" && return
  (
    echo "$BASHPID" >"$cgroups/pids/$cluster/daemons/cgroup.procs"
    exec 9>&- </dev/null >>"$state/logs/$name.log" 2>&1
    exec setsid "$@"
  ) &
  printf '%s %s\n' "$!" "$(start_time "$!")" >"$state/daemons/$name"
}

# Inside the cluster's network.
start_inside() {
  local name=$1
  shift
  start_daemon "$name" nsenter --net="$netns" "$@"
}

# Inside the cluster's network, with the mounts that containerd sees.
start_beside_containerd() {
  local name=$1
  shift
  start_inside "$name" nsenter --mount="/proc/$(daemon_pid containerd)/ns/mnt" "$@"
}

# Ends one daemon and waits until it is gone; half a minute of patience, then SIGKILL.
stop_daemon() {
  local pid deadline=$((SECONDS + 30))
  pid=$(daemon_pid "$1") || return 0
  kill -TERM "$pid" 2>/dev/null || true
  while is_running "$1" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.05; done
  ! is_running "$1" || kill -KILL "$pid" 2>/dev/null || true
}

# The containers that were started and not removed, by containerd's own folders: also when it is dead.
started_containers() {
  local folder
  for folder in "$state"/containerd/io.containerd.runtime.v2.task/k8s.io/*/; do
    [ ! -d "$folder" ] || basename "$folder"
  done
}

# The control groups of the cluster below a hierarchy: its daemons' with the shims, and one for each container.
groups_below() {
  local container
  [ ! -d "$1/$cluster" ] || printf '%s\n' "$1/$cluster"
  while read -r container; do
    [ ! -d "$1/k8s.io/$container" ] || printf '%s\n' "$1/k8s.io/$container"
  done < <(started_containers)
}

# Every process of the cluster: its daemons, containerd's shims, and all that runs in its pods.
processes() {
  local group
  while read -r group; do
    find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done < <(groups_below "$cgroups/pids")
}

kill_processes() {
  local deadline=$((SECONDS + 30)) pids
  while pids=$(processes) && [ -n "$pids" ]; do
    # shellcheck disable=SC2086 # one word each
    kill -KILL $pids 2>/dev/null || true
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

remove_cgroups() {
  local hierarchy group
  for hierarchy in "$cgroups"/*/; do
    while read -r group; do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done < <(groups_below "${hierarchy%/}")
    # Another containerd may have its groups here: then this fails.
    rmdir "${hierarchy}k8s.io" 2>/dev/null || true
  done
}
