# The client's standard output is this one's, and its input what is relayed.
ss_obey() {
  case $ss_order in
    "send "*) printf '%s\n' "${ss_order#send }" ;;
    release)
      ss_lines "$@"
      exec >&-
      ;;
  esac
}
ss_gone() {
  ss_lines "$@"
}

# By a new client, where the state outlives the one that acquired it.
ss_release() {
  [ -z "$ss_survives" ] || ss_lines "$@" | ss_client "$@" >/dev/null
}

ss_keep() {
  ss_client "$@"
  ss_status=$?
  trap '' PIPE
  [ "$ss_status" = 0 ] || ss_let_go "$@"
  ss_done release "$ss_status"
  ss_signal TERM "$$" "$$"
  return 0
}

ss_relay "$@" | ss_keep "$@" 3<&-
