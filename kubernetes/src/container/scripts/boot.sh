# Reads what it does from standard input up to a line with a point, so that it need not be in the request's address.
ss_script=
while IFS= read -r ss_line; do
  case $ss_line in
    .)
      eval "$ss_script"
      exit
      ;;
  esac
  ss_script="$ss_script$ss_line
"
done
exit 125
