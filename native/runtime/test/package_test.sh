# package_test.sh CMAKE BUILD-FOLDER DOCUMENT WRITE-MODEL [TOOLCHAIN]: installs, builds the C example of the document
# against what was installed, runs it. EMULATOR runs programs that are built for another processor.
set -eu
cmake=$1 build=$2 document=$3 write_model=$4 toolchain=${5:-}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
DESTDIR= "$cmake" --install "$build" --prefix "$folder/installed" >"$folder/log" || { cat "$folder/log"; exit 1; }
# The whole tree can be moved.
mv "$folder/installed" "$folder/moved"
${EMULATOR:-} "$write_model" "$folder/model.gguf"

# The first C block of the document, the CMake block after it.
awk '/^```c$/ { inside = 1; next } /^```/ && inside { exit } inside' "$document" >"$folder/next_word.c"
awk '/^```cmake$/ { inside = 1; next } /^```/ && inside { exit } inside' "$document" >"$folder/CMakeLists.txt"

# check PROGRAM: what the example prints.
check() {
  ${EMULATOR:-} "$1" "$folder/model.gguf" 'w2 w3' 'w4' 'mystery w5' >"$folder/output"
  [ "$(grep -c ' -> ' "$folder/output")" -eq 3 ] || { cat "$folder/output"; exit 1; }
  if ${EMULATOR:-} "$1" "$folder/none" 'w2' 2>"$folder/output"; then exit 1; fi
  grep -q 'Cannot open .*No such file' "$folder/output" || { cat "$folder/output"; exit 1; }
}

"$cmake" -S "$folder" -B "$folder/build" ${toolchain:+--toolchain "$toolchain"} -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$folder/moved" -DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=BOTH >"$folder/log" &&
  "$cmake" --build "$folder/build" >>"$folder/log" || { cat "$folder/log"; exit 1; }
check "$folder/build/next_word"
${EMULATOR:-} "$folder/moved/bin/multibit-lm" info "$folder/model.gguf" >/dev/null

command -v pkg-config >/dev/null || { echo 'This test needs pkg-config'; exit 1; }
pc=$(dirname "$(find "$folder/moved" -name multibit.pc)")
compiler=$(sed -n 's/^set(CMAKE_C_COMPILER "\(.*\)")$/\1/p' "$folder"/build/CMakeFiles/*/CMakeCCompiler.cmake)
PKG_CONFIG_PATH=$pc PKG_CONFIG_LIBDIR=$pc
export PKG_CONFIG_PATH PKG_CONFIG_LIBDIR
# shellcheck disable=SC2046
$compiler -std=c99 -pedantic -Wall -Wextra -Werror "$folder/next_word.c" -o "$folder/next_word" \
  $(pkg-config --cflags --libs multibit) -Wl,-rpath,"$(pkg-config --variable=libdir multibit)"
check "$folder/next_word"
