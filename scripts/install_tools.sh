# shellcheck shell=bash
# Finds the tools that running, building and testing take, and installs those that are missing. Sourced by ./multibit.

# Sets JAVA_HOME and `java_version` to the first JDK of 17 or newer: the present JAVA_HOME, the javac on the PATH, the distribution's.
find_jdk() {
  local home javac
  javac=$(readlink -f -- "$(command -v javac)") || javac=
  for home in "${JAVA_HOME:-}" "${javac%/bin/javac}" /usr/lib/jvm/*; do
    if [[ -x $home/bin/javac && -r $home/release && $(<"$home/release") =~ JAVA_VERSION=\"([0-9]+) ]] &&
      ((BASH_REMATCH[1] >= 17)); then
      java_version=${BASH_REMATCH[1]}
      export JAVA_HOME=$home
      return
    fi
  done
  return 1
}

has() { command -v "$1" >/dev/null; }
has_header() { printf '#include <%s>\n' "$1" | g++ -x c++ -E - >/dev/null 2>&1; }
has_sanitizers() { compgen -G '/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer*' >/dev/null; }

# need NAME PACKAGE TEST...: notes the tool as missing if the test fails.
need() {
  "${@:3}" && return
  names+=("$1")
  packages+=("$2")
}

# Sets names and packages to what is missing for `run`, `build`, `test` or `full`; each includes the one before.
find_missing() {
  names=() packages=()
  need 'JDK 17 or newer' openjdk-17-jdk-headless find_jdk
  [[ $1 != run ]] || return 0
  need 'Maven 3.8 or newer' maven has mvn
  need 'g++' g++ has g++
  need 'CMake' cmake has cmake
  need 'Ninja' ninja-build has ninja
  need 'Google Highway 1.0.3 or newer' libhwy-dev has_header hwy/highway.h
  [[ $1 != build ]] || return 0
  need 'GoogleTest' libgtest-dev has_header gtest/gtest.h
  need 'pkg-config' pkg-config has pkg-config
  need 'clang-format-14' clang-format-14 has clang-format-14
  [[ $1 != test ]] || return 0
  need 'clang++-14' clang-14 has clang++-14
  need 'the sanitizers of Clang 14' libclang-rt-14-dev has_sanitizers
  need 'aarch64-linux-gnu-g++' g++-aarch64-linux-gnu has aarch64-linux-gnu-g++
  need 'qemu-aarch64-static' qemu-user-static has qemu-aarch64-static
}

list() { printf '%s, ' "$@" | sed 's/, $//'; }

# Ends the program, naming what to install, unless it may install the missing packages itself.
check_may_install() {
  local system
  [[ ${MULTIBIT_INSTALL:-yes} == yes ]] ||
    fail "MULTIBIT_INSTALL=no, but these are missing: $(list "${names[@]}"); please install them (on Debian 12: sudo apt-get update && sudo apt-get install ${packages[*]})"
  # shellcheck source=/dev/null
  system=$(. /etc/os-release 2>/dev/null && printf '%s' "${ID:-} ${VERSION_ID:-}") || system=unknown
  case $system in
    'debian 12' | 'ubuntu 24.04') ;;
    *) fail "please install: $(list "${names[@]}") (on Debian 12: ${packages[*]})" ;;
  esac
  ((EUID == 0)) || fail "tools are missing; please run: sudo apt-get update && sudo apt-get install ${packages[*]}"
}

install_packages() {
  local log
  say "installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # One unreachable source need not matter: the install itself tells.
  apt-get update -qq >&2 || say 'apt-get update failed; trying with the package lists that are there'
  log=$(apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "${packages[@]}" \
    </dev/null 2>&1) || {
    printf '%s\n' "$log" >&2
    fail "apt-get could not install ${packages[*]}; the reason is above"
  }
}

# install_tools PURPOSE: makes sure that all tools for `run`, `build`, `test` or `full` are there.
install_tools() {
  local names packages
  find_missing "$1"
  ((${#packages[@]})) || return 0
  check_may_install
  install_packages
  find_missing "$1"
  ((${#packages[@]} == 0)) || fail "installed ${packages[*]}, but still found no $(list "${names[@]}")"
}
