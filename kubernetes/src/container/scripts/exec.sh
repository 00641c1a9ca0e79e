# Runs a command to its end, and ends it with all that it started when standard input does.
ss_variables
exec 3<&0 </dev/null
ss_command "$@" 3<&- &
ss_child=$!
{
  while IFS= read -r ss_line <&3; do :; done
  ss_end "$$" "$$"
} >/dev/null 2>&1 &
ss_guard=$!
wait "$ss_child"
ss_status=$?
{
  kill "$ss_guard"
  wait "$ss_guard"
} 2>/dev/null
exit "$ss_status"
