# $1: the word that begins what this says, so that it is no command's output; $2: the lease in seconds.
#
#   standard input ──▶ relay ──▶ keep: does orders one after the other, or is the client
#                        └──▶ watch: armed anew by every line

ss_tell() {
  printf '\n%s %s\n' "$ss_word" "$*"
}
ss_done() {
  ss_tell "done $1" >&2
  ss_tell "done $1 $2"
}

# The dead-man's switch: without a renewal for the lease it ends all others and lets go. It does not depend on them.
ss_watch() {
  # For good: a redirection of the call would leave the pipe open under another number in some shells.
  exec >/dev/null 2>&1 3<&-
  trap - PIPE
  trap 'kill -KILL "$ss_nap"; wait "$ss_nap"; exit 0' TERM
  sleep "$ss_lease" &
  ss_nap=$!
  wait "$ss_nap"
  trap '' TERM
  ss_end "$$" "$$"
  trap - TERM
  ss_let_go "$@"
}
# It is started without a handler: a signal that came before the new process has forgotten its parent's would be lost.
ss_arm() {
  ss_before=$ss_dog
  trap - TERM
  ss_watch "$@" &
  ss_dog=$!
  trap 'ss_disarm "$ss_dog"; exit 0' TERM
}
ss_disarm() {
  kill "$1" 2>/dev/null
  wait "$1" 2>/dev/null
}

# Every line of the runner's renews the lease, also while something else is being done. At end of file the runner is
# gone; the switch stays armed until whoever lets go has done so, and says so by a signal.
ss_relay() {
  trap '' PIPE
  ss_dog=
  ss_arm "$@"
  while IFS= read -r ss_order <&3; do
    ss_arm "$@"
    case $ss_order in
      "renew "*) ss_tell "renewed ${ss_order#renew }" >&2 ;;
    esac
    ss_disarm "$ss_before"
    case $ss_order in
      "renew "*) ;;
      end)
        ss_disarm "$ss_dog"
        return
        ;;
      *) ss_obey "$@" ;;
    esac
  done
  ss_gone "$@"
  exec >&-
  wait "$ss_dog"
}

# Lets go, again and again for an hour.
ss_let_go() {
  ss_tries=0
  until ss_release "$@" </dev/null || [ "$ss_tries" -ge 3600 ]; do
    sleep 1
    ss_tries=$((ss_tries + 1))
  done
}

ss_word=$1 ss_lease=$2
ss_session_of "$$"
if [ "$ss_session" != "$$" ]; then
  echo "a command in this container has no process session of its own" >&2
  exit 125
fi
ss_variables
exec 3<&0 </dev/null
