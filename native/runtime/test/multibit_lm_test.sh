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

# Words are split at ASCII white space alone; what cannot be seen of a word is shown.
expect 0 'does not know 2 of the words, for example "\\u00A0w2\\u{E0001}\\u2028"' \
  generate "$folder/model.gguf" --prompt "$(printf '\302\240w2\363\240\200\201\342\200\250\tw3\rw4\013 w\342\200\2132')"

# Two lines, a blank one, an unknown word, and no line feed at the end: 5 words and 4 ends of line.
printf 'w2 w3\n\n \tw4  mystery\r\nw5' >"$folder/text"
expect 0 '"tokens":9,' evaluate "$folder/model.gguf" "$folder/text" --json
expect 0 '"unknown":1}' evaluate "$folder/model.gguf" "$folder/text" --json
expect 0 'does not know 1 of the words, for example "mystery"' evaluate "$folder/model.gguf" "$folder/text"
expect 0 'perplexity [0-9.]* over 9 tokens' evaluate "$folder/model.gguf" "$folder/text"
expect 0 'multibit.activation.method *alternating' info "$folder/model.gguf"
expect 0 '^w2 w3' generate "$folder/model.gguf" --prompt 'w2 w3' --tokens 5 --temperature 0.5 --top-k 3 --seed 7
expect 0 'does not know' generate "$folder/model.gguf" --prompt mystery
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
threads=$((cores < 2 ? cores : 2))
expect 0 "\"threads\":$threads,\"unknown\":1}" evaluate "$folder/model.gguf" "$folder/text" --threads 2 --json
expect 0 '^w2 w3' generate "$folder/model.gguf" --prompt 'w2 w3' --threads 2
expect 0 '3 streams: [0-9.e+-]* ms per step' bench "$folder/model.gguf" --streams 3
expect 0 '"rows":\[{"streams":1,"millisPerStep":[0-9.e-]*,"millisPerToken":[0-9.e-]*,"tokensPerSecond":[0-9.e+]*},{"streams":32,' \
  bench "$folder/model.gguf" --json
# No more threads than cores.
expect 0 "\"threads\":$((cores < 256 ? cores : 256)),\"rows\":\[" bench "$folder/model.gguf" --streams 1 --threads 256 --json
expect 0 "\"threads\":$threads,\"rows\":\[{\"streams\":1,[^{]*}\]}$" bench "$folder/model.gguf" --streams 1 --threads 2 --json
expect 0 Usage --help
expect 0 Usage info -h
expect 0 '^multibit-lm [0-9]' --version
# A value is a value, whatever it looks like.
expect 0 'does not know 1 of the words, for example "-h"' generate "$folder/model.gguf" --prompt -h --tokens 1
expect 0 '^w2 w3' generate "$folder/model.gguf" --prompt='w2 w3' --tokens=5 --temperature=0.5 --top-k=3 --seed=7 --threads=1

expect 2 'a command is missing'
expect 2 'there is no command nonsense' nonsense
expect 2 'a model file is missing' info
expect 2 'needs a model file and a text file' evaluate "$folder/model.gguf"
expect 2 'bench takes no --seed' bench "$folder/model.gguf" --seed 1
expect 2 "streams takes 1 to 4096, not '0'" bench "$folder/model.gguf" --streams 0
expect 2 "streams takes 1 to 4096, not '4097'" bench "$folder/model.gguf" --streams 4097
expect 2 "threads takes 1 to 256, not '0'" evaluate "$folder/model.gguf" "$folder/text" --threads 0
expect 2 "threads takes 1 to 256, not ''" evaluate "$folder/model.gguf" "$folder/text" --threads ''
expect 2 "threads takes 1 to 256, not ''" evaluate "$folder/model.gguf" "$folder/text" --threads=
expect 2 '--json takes no value' evaluate "$folder/model.gguf" "$folder/text" --json=yes
expect 2 'info takes no --json' info "$folder/model.gguf" --json
expect 2 'unexpected argument extra' info "$folder/model.gguf" extra
expect 2 'needs a value' generate "$folder/model.gguf" --tokens
expect 2 "tokens takes 1 to 1000000, not '0'" generate "$folder/model.gguf" --tokens 0
expect 2 "temperature takes 0 to 1000, not 'hot'" generate "$folder/model.gguf" --temperature hot
expect 2 "temperature takes 0 to 1000, not 'nan'" generate "$folder/model.gguf" --temperature=nan
expect 2 "top-k takes 0 to 2147483647, not '3x'" generate "$folder/model.gguf" --top-k 3x
expect 2 "seed takes 0 to 18446744073709551615, not '-1'" generate "$folder/model.gguf" --seed -1
expect 1 'No such file' info "$folder/none"
expect 1 'No such file' evaluate "$folder/model.gguf" "$folder/none"
: >"$folder/empty"
expect 1 'it is empty' evaluate "$folder/model.gguf" "$folder/empty"
expect 1 'Is a directory' evaluate "$folder/model.gguf" "$folder"
expect 1 'does not start with GGUF' info "$folder/text"

# A classifier is shown, and is no language model.
${EMULATOR:-} "$2" "$folder/classifier.gguf" classifier || exit 1
expect 0 '^multibit.head *classifier' info "$folder/classifier.gguf"
expect 0 '^multibit.input_size *28' info "$folder/classifier.gguf"
expect 0 '^rnn.0.input *200 x 28 .*weights 2 *activations 2' info "$folder/classifier.gguf"
expect 0 '^softmax *10 x 50 ' info "$folder/classifier.gguf"
no_language_model='is a classifier of float sequences, not a language model'
expect 1 "$no_language_model: evaluate takes" evaluate "$folder/classifier.gguf" "$folder/text"
expect 1 "$no_language_model: generate takes" generate "$folder/classifier.gguf"
expect 1 "$no_language_model: bench takes" bench "$folder/classifier.gguf"

# Output that cannot be written, less and more than the buffer holds.
for arguments in --help --version "info $folder/model.gguf" "generate $folder/model.gguf --tokens 50" \
  "generate $folder/model.gguf --tokens 30000"; do
  # shellcheck disable=SC2086
  output=$(${EMULATOR:-} "$lm" $arguments 2>&1 >/dev/full)
  status=$?
  case $status:$output in
    1:*'Cannot write the output: No space left on device') ;;
    *)
      echo "multibit-lm $arguments >/dev/full exits with $status and: $output"
      failures=$((failures + 1))
      ;;
  esac
done

# Texts are read by the rules of the Java commands: those of TextReaderTest in datasets.
perplexity() { ${EMULATOR:-} "$lm" evaluate "$folder/model.gguf" "$1" --json | sed 's/.*"perplexity":\([^}]*\),"seconds".*/\1/'; }
printf 'w2 w3\nw4\n' >"$folder/plain"
printf '\357\273\277w2 w3\nw4\n' >"$folder/marked"
if [ -z "$(perplexity "$folder/plain")" ] || [ "$(perplexity "$folder/plain")" != "$(perplexity "$folder/marked")" ]; then
  echo "a byte order mark makes a difference: $(perplexity "$folder/plain"), $(perplexity "$folder/marked")"
  failures=$((failures + 1))
fi
# refuse BYTES PATTERN: a text, its bytes as printf writes them.
refuse() {
  # shellcheck disable=SC2059
  printf "$1" >"$folder/bytes"
  expect 1 "bytes, $2" evaluate "$folder/model.gguf" "$folder/bytes"
}
# count BYTES TOKENS UNKNOWN
count() {
  # shellcheck disable=SC2059
  printf "$1" >"$folder/bytes"
  expect 0 "\"tokens\":$2,.*\"unknown\":$3}" evaluate "$folder/model.gguf" "$folder/bytes" --json
}
count '\357\273\277\nw2\n' 3 0
count '\357\273\277' 1 0
count 'w2 \357\273\277w3\n' 3 1
count 'w2\302\240w3 \342\200\250 \360\237\230\200\364\217\277\277\n' 4 3
count 'w2\013w3\014\tw4\r\n' 4 0
# A line ends with LF, CR or CR LF.
count 'w2 w3\rw4\r\rw2' 8 0
count 'w2 w3\r\nw4\r\n\r\nw2' 8 0
count 'w2\n\rw3\r' 5 0
refuse 'one\ntwo caf\351 three\n' 'line 2: not UTF-8 at byte 11 of the file (0xE9); convert the file to UTF-8'
refuse 'ok \346\210' 'line 1: not UTF-8 at byte 3 of the file (0xE6)'
refuse 'o\000n\000e\000' 'line 1: a zero byte at byte 1 of the file, which is no UTF-8 text'
refuse 'a\n\351\000' 'line 2: a zero byte at byte 3'
# Too long a form, a surrogate, above U+10FFFF, a byte that begins nothing.
for bytes in '\300\200' '\301\277' '\340\237\277' '\355\240\200' '\360\217\277\277' '\364\220\200\200' '\365\200\200\200' '\200'; do
  refuse "w2 $bytes" 'line 1: not UTF-8 at byte 3'
done

# Control characters of a model are never printed; JSON is JSON whatever the numbers and names are.
odd=$folder/$(printf 'odd\377')
${EMULATOR:-} "$2" "$odd" odd || exit 1
expect 0 '^general.name  *two?lines?\[0m$' info "$odd"
expect 0 '^w3 ?? w4$' generate "$odd" --prompt "$(printf 'w3 \001\302\205 w4')" --temperature 0 --tokens 1
printf 'w3 w4 w5\n' >"$folder/text4"
expect 0 '"model":".*odd\\ufffd","data":.*"perplexity":null,"tokens":4,' evaluate "$odd" "$folder/text4" --json
odd2=$folder/$(printf 'c1\302\233del\177')
cp "$odd" "$odd2"
expect 0 '"model":".*c1\\u009bdel\\u007f","data":' evaluate "$odd2" "$folder/text4" --json
expect 1 'does not know the word "w\\u001B99"' generate "$odd" --prompt "$(printf 'w\03399')"

MULTIBIT_ISA=abacus
export MULTIBIT_ISA
expect 1 'MULTIBIT_ISA=abacus' info "$folder/model.gguf"

[ $failures -eq 0 ]
