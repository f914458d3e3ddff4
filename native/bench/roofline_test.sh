# roofline_test.sh PROGRAM TIER: what multibit-roofline prints, and what it says of arguments that it does not take.
set -eu
program=$1 tier=$2
export MULTIBIT_ISA=$tier

fail() {
  echo "$1"
  exit 1
}

# shellcheck disable=SC2086 # the emulator has arguments of its own
run() { $EMULATOR "$program" "$@"; }

errors=$(run 2>&1 >/dev/null) || {
  case $errors in *"not supported by this CPU"*) exit 77 ;; esac
  fail "$errors"
}
number='[0-9]+(\.[0-9]+)?(e\+?[0-9]+)?'
start="\\{\"isa\":\"$tier\",\"popcountWordsPerSecond\":$number,\"readBytesPerSecond\":"
line=$(run)
printf '%s\n' "$line" | grep -Eqx "$start\\[\\]\\}" || fail "$line"
line=$(run 8 4100)
printf '%s\n' "$line" | grep -Eqx "$start\\[$number,$number\\]\\}" || fail "$line"

for bad in 7 0 -8 8x '' 1e3 99999999999999999999; do
  status=0
  errors=$(run 64 "$bad" 2>&1) || status=$?
  [ "$status" -eq 2 ] || fail "status $status of '$bad'"
  [ "$errors" = "multibit-roofline takes sizes in bytes, of 8 or more, not '$bad'" ] || fail "$errors"
done
status=0
errors=$(run 9000000000000000000 2>&1) || status=$?
[ "$status" -eq 1 ] && [ "$(printf '%s\n' "$errors" | wc -l)" -eq 1 ] || fail "status $status: $errors"
