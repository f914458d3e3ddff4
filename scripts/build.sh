# shellcheck shell=bash
# Builds the program of `module` from the tree in `root`, and keeps the build in target/launcher, named by its sources.
# Sourced by ./multibit.

builds=$root/target/launcher
export CMAKE_GENERATOR=Ninja
# What decides how the program is built and run, besides the sources of its modules.
launcher=(multibit scripts/install_tools.sh scripts/build.sh .mvn pom.xml)

# Sets `build` to the folder of the build of the present sources, named by module and hash.
name_build() {
  build=$builds/$module-$(
    cd "$root"
    {
      uname -m
      find "${launcher[@]}" ./*/pom.xml benchmarks/*/pom.xml ./*/src/main native \( -path native/target -o -path 'native/build*' \
        -o -path 'native/*/test' \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum
    } 2>/dev/null | sha256sum | cut -c 1-16
  ) || fail "you cannot read all sources in $root, which tell whether it is built: ask its owner for the permission"
}

# Sets `class_path` to that of the build; fails if the build or any of its jars is not there.
is_built() {
  local jars jar
  [[ -r $build/class-path ]] || return
  class_path=$(<"$build/class-path")
  IFS=: read -ra jars <"$build/class-path"
  for jar in "${jars[@]}"; do [[ -r $jar ]] || return; done
}

# Begins the only build of this folder; what it writes can be read by all.
lock() {
  [[ $root != *:* ]] || fail "Java cannot run from a folder with a colon in its name: $root"
  user_umask=$(umask)
  umask 022
  { mkdir -p "$builds" && exec 8>>"$builds/lock"; } 2>/dev/null ||
    fail "$root is not built as its sources are now, and you cannot write to it: have it built by someone who can, or use a copy"
  flock -n 8 || {
    say 'waiting for another build of this folder to end'
    flock 8
  }
  name_source
}
unlock() {
  exec 8>&-
  umask "$user_umask"
}

# Sets `source` to where the sources are built from, and `maven` to what builds there. CMake and Maven split or expand
# names that a shell's quotes would protect: such a folder is built through a link. CMake's files name it, so they begin
# anew.
name_source() {
  source=$root
  if [[ $root == *[![:alnum:]._/+-]* ]]; then
    source=$(mktemp -d)/multibit
    trap forget_source EXIT
    ln -s "$root" "$source"
    rm -rf "$root"/native/target/cmake*
  fi
  maven=(mvn -B -ntp -Dstyle.color=never -f "$source/pom.xml")
}

forget_source() { [[ $source == "$root" ]] || rm -rf "${source%/*}"; }

# keep_jars CLASS-PATH: prints the class path with each jar in the build's own folder. A jar gets a second name there,
# or is copied where that is another file system or others may not read it.
keep_jars() {
  local path jar name kept=()
  IFS=: read -ra path <<<"$1"
  for jar in "${path[@]}"; do
    name=${jar##*/}
    # JavaCPP keeps what it extracts by the jar's name: that of another build, in another clone too, would replace a
    # library while it is loaded.
    [[ $jar != "$source"/* ]] || name=${name%.jar}-$(sha256sum <<<"$build" | cut -c 1-8).jar
    if [[ ! -e $new/$name ]]; then
      [[ $(stat -Lc %A "$jar") == *r-- ]] && ln -L "$jar" "$new/$name" 2>/dev/null ||
        install -p -m 644 "$jar" "$new/$name"
    elif ! cmp -s "$jar" "$new/$name"; then
      fail "two libraries are called $name"
    fi
    kept+=("$build/$name")
  done
  (IFS=: && printf '%s' "${kept[*]}")
}

# Keeps all that the program is made of in the build's own folder: any user can run it, and no later build replaces it
# under a running program. The libraries (170 MB) take no room of their own where the file system is that of ~/.m2.
keep_build() {
  local new=$builds/new built=$build stock path old
  name_build
  [[ $build == "$built" ]] || return 0 # The sources changed meanwhile: nobody knows what was built.
  rm -rf "$new" "$build"
  mkdir "$new"
  cp -r "$root/$module/target/classes" "$new"
  # The libraries of stock DL4J, which the training bench runs beside ours.
  stock=$new/classes/org/multibit/benchmarks/stock-dl4j.class-path
  if [[ -e $stock ]]; then
    path=$(keep_jars "$(<"$stock")")
    printf '%s' "$path" >"$stock"
  fi
  path=$(keep_jars "$(<"$root/$module/target/class-path")")
  printf '%s\n' "$build/classes:$path" >"$new/class-path"
  chmod -R a+rX "$new/classes"
  mv "$new" "$build"
  is_built || fail "the build lacks a jar that $build/class-path names"
  # A running program holds a lock on the class path of its build.
  for old in "$builds/$module"-*/class-path; do
    [[ $old == "$build"/* ]] || flock -n "$old" rm -rf "${old%/*}" || true
  done
}

build_if_changed() {
  is_built && return
  lock
  until name_build && is_built; do
    install_tools build
    say "building; the first time takes some minutes and downloads libraries (log: $builds/build.log)"
    (cd "$source" && "${maven[@]}" -q -Pbenchmarks -pl "$module" -am -DskipTests -Dmaven.test.skip=true package) </dev/null >"$builds/build.log" 2>&1 || {
      # Without colours, the second list of the errors, and the general advice.
      sed -e 's/\x1b\[[0-9;]*m//g' -e '/^.ERROR. Failed to execute goal/q' -e '/-> \[Help 1\]/q' "$builds/build.log" >&2
      fail 'the build failed; the reason is above'
    }
    keep_build
  done
  unlock
  forget_source
}
