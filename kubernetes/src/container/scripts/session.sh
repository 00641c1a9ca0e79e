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
# Where it counts what a client says, nobody reads that now: the client is ended, and one that is read is told.
ss_gone() {
  if [ -z "$ss_until" ]; then
    ss_lines "$@"
  else
    ss_end "$$" "$$"
    ss_let_go "$@"
  fi
}

# By a new client, where the state outlives the one that acquired it.
ss_release() {
  [ -n "$ss_survives" ] || return 0
  ss_words=$(ss_lines "$@" | ss_client "$@") || return 1
  [ -z "$ss_until" ] || printf '%s\n' "$ss_words" | grep -E -e "$ss_until" >/dev/null
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

ss_pattern "$@"
if [ -n "$ss_until" ] && ! command -v grep >/dev/null; then
  echo "\`releaseUntil\` needs grep, and this container has none" >&2
  exit 125
fi
ss_relay "$@" | ss_keep "$@" 3<&-
