# POSIX, for the shell of any image. Every name begins with ss_, so that no variable of a command is overwritten.

# Reads variables from standard input, where nobody else can read them: how many, then for each a line with its name
# and the number of its lines, and those.
ss_variables() {
  IFS= read -r ss_many || exit 125
  while [ "$ss_many" -gt 0 ]; do
    read -r ss_name ss_lines || exit 125
    IFS= read -r ss_value || exit 125
    while [ "$ss_lines" -gt 1 ]; do
      IFS= read -r ss_more || exit 125
      ss_value="$ss_value
$ss_more"
      ss_lines=$((ss_lines - 1))
    done
    export "$ss_name=$ss_value"
    ss_many=$((ss_many - 1))
  done
  unset ss_value ss_more
}

# The session of a process that lives, as ss_session. The name of a program may hold anything: what follows is read.
ss_session_of() {
  ss_stat=
  { IFS= read -r ss_stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  ss_stat=${ss_stat##*) }
  case $ss_stat in Z*) return 1 ;; esac
  ss_stat=${ss_stat#* * * }
  ss_session=${ss_stat%% *}
}

# Signals every process of the session $2 but $3 and this one; whether there was one.
ss_signal() {
  ss_found=1
  ss_me=
  { IFS= read -r ss_me </proc/self/stat; } 2>/dev/null
  ss_me=${ss_me%% *}
  for ss_entry in /proc/[0-9]*; do
    ss_pid=${ss_entry#/proc/}
    if [ "$ss_pid" != "$3" ] && [ "$ss_pid" != "$ss_me" ] && ss_session_of "$ss_pid" && [ "$ss_session" = "$2" ]; then
      kill -s "$1" "$ss_pid" 2>/dev/null && ss_found=0
    fi
  done
  return "$ss_found"
}

# Kills every process of the session $1 but $2 and this one, also what they start meanwhile.
ss_end() {
  ss_looks=0
  while ss_signal KILL "$1" "$2" && [ "$ss_looks" -lt 20 ]; do ss_looks=$((ss_looks + 1)); done
}
