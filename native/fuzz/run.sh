# run.sh BUILD-FOLDER SECONDS: fuzzes each target for so long, from seeds that it writes itself. What is found is left in
# BUILD-FOLDER/fuzz/found-*; more than 64 MiB at once, for files of some kB, is a finding too.
set -eu
build=$(realpath "$1")
for target in model api; do
  program=$build/fuzz/multibit_fuzz_$target
  seeds=$build/fuzz/seeds-$target corpus=$build/fuzz/corpus-$target
  mkdir -p "$seeds" "$corpus"
  "$program" --write-seeds "$seeds"
  printf 'fuzzing %s for %s s\n' "$target" "$2"
  "$program" -max_total_time="$2" -timeout=30 -rss_limit_mb=1024 -malloc_limit_mb=64 -print_final_stats=1 \
    -artifact_prefix="$build/fuzz/found-$target-" "$corpus" "$seeds" >"$build/fuzz/$target.log" 2>&1 || {
    tail -n 40 "$build/fuzz/$target.log"
    exit 1
  }
  grep -E 'number_of_executed_units|Done' "$build/fuzz/$target.log"
done
