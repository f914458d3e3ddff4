#!/usr/bin/env bash
# scripts/launcher_test.sh: tests of ./multibit on a tree that is built; ./multibit test runs it.
# scripts/launcher_test.sh awkward-name: builds and runs a copy of the sources in a folder with an awkward name.
set -euo pipefail

root=$(dirname -- "$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")")
model=$root/models/ptb-lstm-300-alternating-2-2.gguf
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
unset JDK_JAVA_OPTIONS
mkdir text
for split in train valid test; do printf 'the cat sees a dog , and the dog sees a cat .%.0s\n' {1..100} >"text/$split.txt"; done
train=(train --data "$folder/text" --bits fp --epochs 1 --batch 4 --bptt 10)

# runs CODE COMMAND...: asserts the exit code; standard error goes to the file `err`.
runs() {
  local status=0
  "${@:2}" 2>err || status=$?
  ((status == $1)) || {
    printf 'launcher_test: %s exits with %s, not %s:\n' "${*:2}" "$status" "$1"
    cat err
    exit 1
  } >&2
}

# fails CODE PATTERN COMMAND...: asserts the exit code and that standard error is one line, multibit's own.
fails() {
  runs "$1" "${@:3}" >/dev/null
  # The JVM tells which options it was given.
  sed -i '/^NOTE: Picked up JDK_JAVA_OPTIONS/d' err
  [[ $(wc -l <err) == 1 && $(<err) == "multibit: "*$2* ]] || {
    printf 'launcher_test: %s should say "multibit: ... %s", and nothing else, but says:\n' "${*:3}" "$2"
    cat err
    exit 1
  } >&2
}

# quiet COMMAND...: asserts that it succeeds without a word on standard error.
quiet() {
  runs 0 "$@" >out
  [[ ! -s err ]] || {
    printf 'launcher_test: %s says:\n' "$*"
    cat err
    exit 1
  } >&2
}

# Asserts that the last command's standard error lacks a text.
fails_if_said() {
  if grep -- "$1" err >&2; then exit 1; fi
}

fails_unless_said() {
  grep -q -- "$1" err || {
    printf 'launcher_test: it should say "%s", but says:\n' "$1"
    cat err
    exit 1
  } >&2
}

# A user who has neither the builder's home nor the permission to write; root alone can be another.
as_other() { setpriv --reuid=65534 --regid=65534 --clear-groups env -u JAVA_HOME HOME=/nonexistent "$@"; }

# The tree may be in a folder that others may not enter.
can_be_other() { ((EUID == 0)) && as_other test -r "$model"; }
as_other_where_possible() {
  if can_be_other; then as_other "$@"; else "$@"; fi
}

# What a clone has, unbuilt.
copy_sources() {
  mkdir -p "$1"
  (cd "$root" && tar -c --exclude='target' --exclude='.git' --exclude='native/build*' .) | tar -x -C "$1"
}

through_a_link_from_anywhere() {
  ln -s "$root/multibit" link
  quiet ./link --help
  runs 2 ./link no-such-command
  runs 2 ./link test --no-such-option
}

a_build_has_all_it_needs() {
  local path entry
  path=$(<"$(ls -t "$root"/target/launcher/cli-*/class-path | head -1)")
  IFS=: read -ra path <<<"$path"
  for entry in "${path[@]}"; do
    [[ $entry == "$root"/target/launcher/* ]] || { echo "The class path leaves the build: $entry" && exit 1; } >&2
    [[ -d $entry || $(head -c 2 "$entry") == PK ]] || { echo "$entry is no jar" && exit 1; } >&2
  done
  entry=$(find "${path[0]%/*}" ! -perm -o=r)
  [[ -z $entry ]] || { echo "Others cannot read $entry" && exit 1; } >&2
}

another_user_runs_a_build() {
  quiet as_other_where_possible "$root/multibit" info "$model"
}

a_user_without_an_account() {
  can_be_other || return 0
  mkdir -m 777 home
  cd home
  runs 0 setpriv --reuid=54321 --regid=54321 --clear-groups env HOME="$PWD" \
    "$root/multibit" generate --model "$model" --prompt the >out
  [[ ! -e '?' ]]
  cd ..
}

an_unbuilt_tree_that_cannot_be_written() {
  copy_sources unbuilt
  if ((EUID == 0)); then
    fails 1 'cannot write to it' as_other unbuilt/multibit --help
  else
    chmod a-w unbuilt
    fails 1 'cannot write to it' unbuilt/multibit --help
    chmod u+w unbuilt
  fi
  mv unbuilt 'a:colon'
  fails 1 'a folder with a colon' a:colon/multibit --help
  mv 'a:colon' unbuilt
}

# A tree that is not built, and a PATH that lacks Ninja and whose apt-get only notes that it was called.
missing_tools() {
  local choice
  cp -rs /usr/bin bin
  rm -f bin/ninja bin/apt-get
  printf '#!/bin/sh\ntouch "%s"\nexit 1\n' "$folder/called" >bin/apt-get
  chmod +x bin/apt-get
  fails 1 'MULTIBIT_INSTALL=no, but these are missing: *Ninja*; please install them*ninja-build' \
    env PATH="$folder/bin" MULTIBIT_INSTALL=no unbuilt/multibit --help
  fails 1 'MULTIBIT_INSTALL=no, but these are missing' env PATH="$folder/bin" MULTIBIT_INSTALL=no unbuilt/multibit test
  [[ ! -e called ]]
  for choice in '' yes; do
    runs 1 env PATH="$folder/bin" MULTIBIT_INSTALL="$choice" unbuilt/multibit --help
    fails_unless_said 'install.* ninja-build'
  done
  # What is there needs no installing.
  quiet env MULTIBIT_INSTALL=no "$root/multibit" --help
  fails 1 "MULTIBIT_INSTALL is 'yes' (install what is missing) or 'no' (only name it), not 'maybe'" \
    env MULTIBIT_INSTALL=maybe "$root/multibit" --help
}

closed_streams() {
  quiet "$root/multibit" --help <&-
  runs 2 "$root/multibit" no-such-command >&- 2>/dev/null
  runs 2 "$root/multibit" no-such-command <&- >/dev/null
}

locales() {
  local locale
  # One with other letters, figures and case than C; where its sources are missing, it is a locale that is not installed.
  localedef -i tr_TR -f UTF-8 "$folder/tr_TR.UTF-8" 2>/dev/null || true
  cp "$model" käse.gguf
  for locale in tr_TR.UTF-8 C POSIX no_SUCH.UTF-8; do
    # Bash itself warns of a locale that is not installed.
    runs 0 env LOCPATH="$folder" LC_ALL="$locale" "$root/multibit" info käse.gguf >out
    # OpenMP reads its settings by the locale.
    runs 0 env LOCPATH="$folder" LC_ALL="$locale" "$root/multibit" "${train[@]}" --hidden 10 --out "run-$locale" >out
    fails_if_said 'libgomp\|multibit:'
  done
  fails 2 'argument 2 is not UTF-8' "$root/multibit" info $'\xff.gguf'
  fails 1 'There is no file' "$root/multibit" info $'\xef\xbf\xbd.gguf'
}

# Also one that takes the permission from the user, who unpacks libraries and reads a run again.
umasks() {
  local mask
  for mask in 077 777; do
    mkdir -m 777 "umask-$mask"
    (
      umask "$mask"
      runs 0 as_other_where_possible env JDK_JAVA_OPTIONS="-Duser.home=$PWD/umask-$mask -Djava.io.tmpdir=$PWD/umask-$mask" \
        "$root/multibit" "${train[@]}" --hidden 10 --out "umask-$mask/run" >out
    )
  done
}

few_files() {
  fails 1 'ulimit -n 256' bash -c 'ulimit -n 64 && exec "$@"' bash "$root/multibit" info "$model"
  quiet bash -c 'ulimit -n 256 && exec "$@"' bash "$root/multibit" info "$model"
}

# What cannot be loaded or allocated leaves no folder of a run.
failures_leave_nothing() {
  local other=-Dorg.bytedeco.javacpp.platform=linux-ppc64le
  fails 1 'for linux-ppc64le' env JDK_JAVA_OPTIONS=$other "$root/multibit" "${train[@]}" --out run
  [[ ! -e run ]]
  touch file
  fails 1 'cachedir=DIR' env HOME="$folder/file" \
    JDK_JAVA_OPTIONS="-Duser.home=$folder/file -Djava.io.tmpdir=$folder/file" "$root/multibit" "${train[@]}" --out run
  [[ ! -e run ]]
  # Weights of 115 GB.
  fails 1 'out of memory' "$root/multibit" "${train[@]}" --hidden 60000 --out run
  [[ ! -e run ]]
}

if [[ ${1:-} == awkward-name ]]; then
  awkward="it's \"a\" \$HOME; é"
  copy_sources "$awkward"
  runs 0 "$awkward/multibit" info "$model"
  runs 0 "$awkward/multibit" "${train[@]}" --hidden 10 --out run
  exit
fi
for check in through_a_link_from_anywhere a_build_has_all_it_needs another_user_runs_a_build \
  a_user_without_an_account an_unbuilt_tree_that_cannot_be_written missing_tools closed_streams umasks locales \
  few_files failures_leave_nothing; do
  printf '%s\n' "$check"
  $check
done
