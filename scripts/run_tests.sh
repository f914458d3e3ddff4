# shellcheck shell=bash
# Runs the tests of this source tree, and counts them. Sourced by ./multibit for `./multibit test`.

# count LOG: prints how many tests passed, failed and were skipped, by the totals of Surefire's modules and of ctest.
count() {
  awk '
    /^\[[A-Z]+\] +Tests run: [0-9]+, .*Skipped: [0-9]+$/ {
      gsub(/[^0-9 ]/, ""); passed += $1 - $2 - $3 - $4; failed += $2 + $3; skipped += $4 }
    /tests passed, [0-9]+ tests failed out of [0-9]+/ {
      sub(/.*passed, /, ""); failed += $1; passed += $NF - $1 }
    END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# step NAME COMMAND...: runs one part of the tests and counts its tests, or itself where nothing else is counted.
step() {
  local name=$1 status=0 log=$builds/test.log p f s
  shift
  printf '\n== %s\n' "$name"
  (cd "$source" && "$@") </dev/null 2>&1 | tee "$log" || status=1
  read -r p f s < <(count "$log")
  if ((status && f == 0)); then f=1; fi
  if ((!status && p == 0)); then p=1; fi
  ((passed += p, failed += f, skipped += s)) || true
  ((status == 0)) || failures+=("$name")
}

check_cpp_format() {
  find native \( -path native/target -o -path 'native/build*' \) -prune -o \( -name '*.h' -o -name '*.cpp' \) -print0 |
    xargs -0 clang-format-14 --dry-run -Werror
}

# native_tests NAME CMAKE-OPTIONS...: builds and runs the native tests in a way of their own.
native_tests() {
  local folder=target/native-$1
  cmake -S native -B "$folder" -DMULTIBIT_TESTS=ON "${@:2}" && cmake --build "$folder" && ctest --test-dir "$folder" --output-on-failure
}

thread_tests() {
  local folder=target/native-threads
  cmake -S native -B "$folder" -DMULTIBIT_SANITIZE=thread -DCMAKE_CXX_COMPILER=clang++-14 &&
    cmake --build "$folder" --target multibit_threads_test && ctest --test-dir "$folder" -R threads --output-on-failure
}

# With the toolchain file that docs/c-api.md gives.
arm64_tests() {
  [[ $(<docs/c-api.md) =~ --toolchain\ \"\$PWD/([^\"]+)\" ]] && native_tests arm64 --toolchain "$PWD/${BASH_REMATCH[1]}"
}

# Without a toolchain file, by a compiler that says itself what it builds for.
arm64_compiler() {
  local folder=target/native-arm64-compiler
  cmake -S native -B "$folder" -DMULTIBIT_TESTS=OFF -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ &&
    cmake --build "$folder" --target multibit_kernels_neon
}

# The Java binding built for arm64 as well, and what its library needs.
arm64_binding() {
  "${maven[@]}" -q -Pcross-arm64 -pl native -am -DskipTests -Dmaven.test.skip=true package &&
    sh native/runtime/test/needs_test.sh aarch64-linux-gnu-readelf \
      native/target/classes/org/multibit/runtime/linux-arm64/libjnimultibit.so
}

# Two minutes of each fuzz target.
fuzz() {
  local folder=target/native-fuzz
  cmake -S native -B "$folder" -DMULTIBIT_TESTS=OFF -DMULTIBIT_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++-14 &&
    cmake --build "$folder" && sh native/fuzz/run.sh "$folder" 120
}

# The benches build, run, and compute the same as what they measure against; the times mean nothing here.
check_benches() {
  "$root/multibit" bench kernels --size 64x100 --batch 1 --batch 3 --rounds 1 &&
    "$root/multibit" bench inference --model 50x40 --batch 1 --batch 3 --rounds 1 &&
    "$root/multibit" bench training --shape 50x40x4x5 --rounds 1 --seconds 0.3 &&
    "$root/multibit" reproduce table6 --rounds 1 --results target
}

usage() {
  cat <<'USAGE'
Usage: multibit test [--full]
Checks the formatting, builds everything, runs all tests and the example project.
  --full   also runs the native tests under the address and undefined-behaviour
           sanitizers, those of threads under the thread sanitizer, and all
           built for arm64 under QEMU; builds the Java binding for arm64; fuzzes
           the loader and the C API; runs the benches in small, compares cells
           with PyTorch's, and tries thousands of damaged files, not hundreds
Tools that are missing are installed; MULTIBIT_INSTALL=no only names them.
USAGE
}

# standard_steps PROFILES FULL: what both kinds of test run, with Maven's profiles and `true` or `false`.
standard_steps() {
  # The BOM has no sources and does not know spotless.
  step "Format of the Java sources (mvn spotless:apply -pl '!bom' mends it)" "${maven[@]}" -q -pl '!bom' spotless:check
  step 'Format of the C++ sources (clang-format-14 -i mends it)' check_cpp_format
  step 'Modules and the example' "${maven[@]}" "-P$1" "-Dmultibit.full=$2" --fail-at-end verify
}

native_steps() {
  step 'Native tests under sanitizers' native_tests sanitized -DMULTIBIT_SANITIZE=address,undefined \
    -DCMAKE_CXX_COMPILER=clang++-14
  step 'Native tests of threads under the thread sanitizer' thread_tests
  step 'Fuzzing of the loader and the C API' fuzz
  step 'Native tests for arm64' arm64_tests
  step 'Kernels by an arm64 compiler without a toolchain file' arm64_compiler
  step 'Java binding for arm64' arm64_binding
}

report() {
  local name
  printf '\n'
  for name in "${failures[@]}"; do printf 'FAILED: %s\n' "$name"; done
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  ((failed == 0))
}

run_tests() {
  local full=false profiles=examples
  case "$*" in
    '') ;;
    --full) full=true profiles+=,benchmarks ;;
    -h | --help)
      usage
      return
      ;;
    *) fail "test takes only --full, not '$*'; see ./multibit test --help" 2 ;;
  esac

  local passed=0 failed=0 skipped=0 failures=()
  lock
  if $full; then install_tools full; else install_tools test; fi
  name_build
  standard_steps "$profiles" "$full"
  if [[ ${failures[*]: -1} != Modules* ]]; then
    keep_build
    unlock
    step 'Launcher' scripts/launcher_test.sh
    ! $full || step 'Benches' check_benches
  fi
  if $full; then
    native_steps
    step 'A folder with an awkward name' scripts/launcher_test.sh awkward-name
  fi
  report
}
