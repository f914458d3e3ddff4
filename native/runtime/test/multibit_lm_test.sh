# multibit_lm_test.sh MULTIBIT-LM WRITE-MODEL: what the program prints and how it exits. EMULATOR runs programs that are
# built for another processor.
set -u
lm=$1
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
${EMULATOR:-} "$2" "$folder/model.gguf" || exit 1
failures=0

# expect EXIT-CODE PATTERN ARGUMENTS...: both outputs together must match.
expect() {
  code=$1 pattern=$2
  shift 2
  output=$(${EMULATOR:-} "$lm" "$@" 2>&1)
  status=$?
  if [ $status -ne "$code" ] || ! printf '%s\n' "$output" | grep -q -e "$pattern"; then
    printf 'multibit-lm %s\nexits with %s, expected %s and: %s\n%s\n' "$*" $status "$code" "$pattern" "$output"
    failures=$((failures + 1))
  fi
}

# Two lines, a blank one, an unknown word, and no line feed at the end: 5 words and 4 ends of line.
printf 'w2 w3\n\n \tw4  mystery\r\nw5' >"$folder/text"
expect 0 '"tokens":9,' evaluate "$folder/model.gguf" "$folder/text" --json
expect 0 '"unknown":1}' evaluate "$folder/model.gguf" "$folder/text" --json
expect 0 'does not know 1 of the words, for example "mystery"' evaluate "$folder/model.gguf" "$folder/text"
expect 0 'perplexity [0-9.]* over 9 tokens' evaluate "$folder/model.gguf" "$folder/text"
expect 0 'multibit.activation.method *alternating' info "$folder/model.gguf"
expect 0 '^w2 w3' generate "$folder/model.gguf" --prompt 'w2 w3' --tokens 5 --temperature 0.5 --top-k 3 --seed 7
expect 0 'does not know' generate "$folder/model.gguf" --prompt mystery
expect 0 '"threads":2,"unknown":1}' evaluate "$folder/model.gguf" "$folder/text" --threads 2 --json
expect 0 '^w2 w3' generate "$folder/model.gguf" --prompt 'w2 w3' --threads 2
expect 0 '3 streams: [0-9.e+-]* ms per step' bench "$folder/model.gguf" --streams 3
expect 0 '"rows":\[{"streams":1,"millisPerStep":[0-9.e-]*,"millisPerToken":[0-9.e-]*,"tokensPerSecond":[0-9.e+]*},{"streams":32,' \
  bench "$folder/model.gguf" --json
expect 0 '"threads":2,"rows":\[{"streams":1,[^{]*}\]}$' bench "$folder/model.gguf" --streams 1 --threads 2 --json
expect 0 Usage --help

expect 2 'a command is missing'
expect 2 'there is no command nonsense' nonsense
expect 2 'a model file is missing' info
expect 2 'needs a model file and a text file' evaluate "$folder/model.gguf"
expect 2 'bench takes no --seed' bench "$folder/model.gguf" --seed 1
expect 2 'is out of range or not a number' bench "$folder/model.gguf" --streams 0
expect 2 'is out of range or not a number' bench "$folder/model.gguf" --streams 4097
expect 2 'is out of range or not a number' evaluate "$folder/model.gguf" "$folder/text" --threads 0
expect 2 'is out of range or not a number' evaluate "$folder/model.gguf" "$folder/text" --threads 257
expect 2 'info takes no --json' info "$folder/model.gguf" --json
expect 2 'unexpected argument extra' info "$folder/model.gguf" extra
expect 2 'needs a value' generate "$folder/model.gguf" --tokens
expect 2 'is out of range or not a number' generate "$folder/model.gguf" --tokens 0
expect 2 'is out of range or not a number' generate "$folder/model.gguf" --temperature hot
expect 2 'is out of range or not a number' generate "$folder/model.gguf" --temperature nan
expect 2 'is out of range or not a number' generate "$folder/model.gguf" --top-k 3x
expect 1 'No such file' info "$folder/none"
expect 1 'No such file' evaluate "$folder/model.gguf" "$folder/none"
: >"$folder/empty"
expect 1 'it is empty' evaluate "$folder/model.gguf" "$folder/empty"
expect 1 'Is a directory' evaluate "$folder/model.gguf" "$folder"
expect 1 'does not start with GGUF' info "$folder/text"
MULTIBIT_ISA=abacus
export MULTIBIT_ISA
expect 1 'MULTIBIT_ISA=abacus' info "$folder/model.gguf"

[ $failures -eq 0 ]
