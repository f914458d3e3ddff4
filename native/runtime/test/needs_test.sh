# needs_test.sh READELF LIBRARY: the library needs no library that a plain system lacks.
set -eu
exec sh "$(dirname "$0")/../../kernels/test/only_lines.sh" '\(NEEDED\)' \
  '\[(lib(c|m|pthread|stdc[+][+]|gcc_s)|ld-linux[^.]*)\.so' "$1" -d "$2"
