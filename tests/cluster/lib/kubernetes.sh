# The binaries of Kubernetes, built once from Debian's source package.
# shellcheck shell=bash

kubernetes_programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy)

have_kubernetes() {
  local program
  for program in "${kubernetes_programs[@]}"; do
    [ -x "$kubernetes_binaries/$program" ] || return 1
  done
}

# Debian's own archives of this machine's configuration, as sources, in a configuration beside the machine's.
write_source_lists() {
  local lists=$1 file
  mkdir -p "$lists"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    grep -qs '/debian' "$file" || continue
    case "$file" in
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$file" >"$lists/$(basename "$file")" ;;
      *.list) sed -n 's/^deb /deb-src /p' "$file" >"$lists/$(basename "$file")" ;;
    esac
  done
}

fetch_source() {
  local work=$1
  write_source_lists "$work/apt/lists.d"
  mkdir -p "$work/apt/state"
  local options=(
    -qq -o DPkg::Lock::Timeout=600 -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/apt/lists.d"
    -o "Dir::State::Lists=$work/apt/state" -o APT::Sandbox::User=root -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=
  )
  apt-get "${options[@]}" update >&2 || say "not every source archive could be read"
  (cd "$work" && apt-get "${options[@]}" source kubernetes >/dev/null) \
    || fail "the source package kubernetes $kubernetes_version could not be fetched"
}

# The build knows its version from git, which a source package has not.
write_version() {
  cat >"$1" <<END
KUBE_GIT_COMMIT='debian'
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v$kubernetes_version'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
END
}

build_kubernetes() {
  have_kubernetes && return
  install_packages "${build_packages[@]}"
  local work="$cache/kubernetes-build" source
  say "building Kubernetes $kubernetes_version, once: this takes some ten minutes"
  rm -rf "$work"
  mkdir -p "$work/go/src/k8s.io"
  fetch_source "$work"
  source="$work/go/src/k8s.io/kubernetes"
  mv "$work"/kubernetes-*"$kubernetes_version"/ "$source" || fail "Debian's source of Kubernetes is not version $kubernetes_version"
  # The vendored reflect2 makes the API server crash at the first custom resource under a Go newer than 1.17.
  rm -rf "$source/vendor/github.com/modern-go/reflect2"
  cp -rL /usr/share/gocode/src/github.com/modern-go/reflect2 "$source/vendor/github.com/modern-go/reflect2"
  rm -f "$source"/vendor/github.com/modern-go/reflect2/*_test.go
  write_version "$work/version"
  (
    cd "$source"
    unset GO111MODULE
    export GOPATH="$work/go" CGO_ENABLED=0 KUBE_GIT_VERSION_FILE="$work/version"
    nice -n 10 make -j2 WHAT="${kubernetes_programs[*]/#/cmd/}"
  ) >"$work/build.log" 2>&1 || fail "Kubernetes could not be built; see $work/build.log"
  mkdir -p "$kubernetes_binaries"
  local program
  for program in "${kubernetes_programs[@]}"; do
    install -m 0755 "$source/_output/bin/$program" "$kubernetes_binaries/$program"
  done
  chmod -R u+w "$work" && rm -rf "$work"
}
