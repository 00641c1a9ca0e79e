# Orders go on to whoever does them.
ss_obey() {
  printf '%s\n' "$ss_order"
}
ss_gone() { :; }

ss_keep() {
  trap '' PIPE
  ss_released=
  (trap - PIPE && ss_acquire "$@") </dev/null
  ss_done 0 $?
  while read -r ss_what ss_id; do
    case $ss_what in
      confirm) (trap - PIPE && ss_confirm "$@") </dev/null ;;
      release) (trap - PIPE && ss_release "$@") </dev/null ;;
    esac
    ss_status=$?
    [ "$ss_what $ss_status" = "release 0" ] && ss_released=yes
    ss_done "$ss_id" "$ss_status"
  done
  [ -n "$ss_released" ] || ss_let_go "$@"
  ss_signal TERM "$$" "$$"
  return 0
}

ss_relay "$@" | ss_keep "$@" 3<&-
