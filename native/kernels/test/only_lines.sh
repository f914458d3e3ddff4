# only_lines.sh CHOSEN ALLOWED COMMAND...: every line of the command's output that matches CHOSEN must match ALLOWED, and
# there must be some: a tool that fails or prints nothing shows nothing.
set -eu
chosen=$1 allowed=$2
shift 2
output=$("$@")
lines=$(printf '%s\n' "$output" | grep -E -e "$chosen") || {
  echo "no line of the output of $* matches $chosen"
  exit 1
}
if printf '%s\n' "$lines" | grep -Ev -e "$allowed"; then exit 1; fi
