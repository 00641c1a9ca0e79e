# Ends the keeper of the mark $1 with all that it started, says whether there was one, and then lets go.
ss_variables
ss_ended=absent
for ss_keeper in /proc/[0-9]*; do
  ss_line=
  { IFS= read -r ss_line <"$ss_keeper/cmdline"; } 2>/dev/null
  case $ss_line in
    *"standstill-keeper $1"*)
      if ss_session_of "${ss_keeper#/proc/}" && [ "$ss_session" != "$$" ]; then
        ss_ended=ended
        ss_keeper=$ss_session
        # Those that can take note of their children's end do so: the first process of a container may not.
        ss_looks=0
        while ss_signal TERM "$ss_keeper" "$ss_keeper" && [ "$ss_looks" -lt 20 ]; do ss_looks=$((ss_looks + 1)); done
        ss_end "$ss_keeper" "$$"
      fi
      ;;
  esac
done
echo "$ss_ended"
ss_release "$@" </dev/null
