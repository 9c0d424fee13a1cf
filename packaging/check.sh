#!/usr/bin/env bash
# check.sh BUILD_DIR: unpacks the deb and the rpm of BUILD_DIR into scratch roots and uses what is in them: every
# program says its version and its help, every file that is promised is there, and the examples build against
# the SDK as a user's project does. Nothing is installed on this machine.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
packages=$(readlink -f "$1")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/romancy-package.XXXXXX")
supervisor=
clean_up() {
  if [ -n "$supervisor" ] && kill -0 "$supervisor" 2>/dev/null; then
    kill "$supervisor"
    wait "$supervisor" || true  # its exit code does not matter any more
  fi
  cluster_stop "$scratch"
  rm -rf "$scratch"
}
trap clean_up EXIT
# shellcheck source=../tests/support/cluster.sh
. "$here/../tests/support/cluster.sh"

fail() { echo "package: $*" >&2; exit 1; }

one() { # PATTERN: the one file of that name
  local found
  mapfile -t found < <(find "$packages" -maxdepth 1 -name "$1")
  [ ${#found[@]} = 1 ] || fail "expected one $1 in $packages, found ${#found[@]}"
  echo "${found[0]}"
}

build_project() { # NAME EXAMPLE ROOT: as a user does, against what is in ROOT
  local from=$3/usr/share/doc/romancyd/examples/$2 into=$3.$2
  cmake -S "$from" -B "$into" -G Ninja -DCMAKE_PREFIX_PATH="$3/usr" >"$into.log" 2>&1 \
    && ninja -C "$into" >>"$into.log" 2>&1 || { cat "$into.log" >&2; fail "$1: the project $2 does not build"; }
}

check_root() { # NAME ROOT
  local root=$2 program file
  for program in romancy romancy-supervisor romancy-listener romancy-timer romancy-relay; do
    "$root/usr/bin/$program" --version >/dev/null || fail "$1: $program --version"
    "$root/usr/bin/$program" --help >/dev/null || fail "$1: $program --help"
    # Points where a test may kill a process are for test builds alone (common/base/test_point.hpp).
    ! grep -q ROMANCY_TEST_POINTS "$root/usr/bin/$program" || fail "$1: $program has test points"
    find "$root/usr/share/man" -name "$program.[18]" | grep -q . || fail "$1: no man page for $program"
  done
  for file in etc/romancy/romancy.toml usr/lib/systemd/system/romancy.service usr/lib/sysusers.d/romancy.conf \
              usr/lib/tmpfiles.d/romancy.conf usr/include/romancy/romancy.hpp usr/share/doc/romancyd/copyright; do
    [ -s "$root/$file" ] || fail "$1: no $file"
  done
  ! grep -qr ROMANCY_TEST_POINTS "$root/usr" || fail "$1: the SDK has test points"
  find "$root/usr/share/romancy/sql" -name '*.sql' | grep -q . || fail "$1: no SQL"

  build_project "$1" hello "$root"
  "$root.hello/hello_worker" --version >/dev/null || fail "$1: a user's worker does not run"
  cmake -S "$here/consumer" -B "$2.consumer" -G Ninja -DCMAKE_PREFIX_PATH="$root/usr" >"$2.log" 2>&1 \
    && ninja -C "$2.consumer" >>"$2.log" 2>&1 || { cat "$2.log" >&2; fail "$1: the test of a user's workflow does not build"; }
  "$2.consumer/hello_test" || fail "$1: the test of a user's workflow does not pass"
  ! ldd "$2.consumer/hello_test" | grep -E 'libpq|libuv' || fail "$1: a test of workflows needs a database's library"
  echo "$1: programs run, a user's worker and its test build and run"
}

until_says() { # TEXT COMMAND..: until the command's output holds the text; guarded against hanging
  local text=$1 tries
  shift
  for ((tries = 0; tries < 300; tries++)); do
    if "$@" 2>/dev/null | grep -q "$text"; then return 0; fi
    sleep 0.1
  done
  "$@" >&2 || true  # shown for the message that follows
  cat "$scratch/supervisor.log" >&2
  fail "never saw '$text' from: $*"
}

# The unpacked suite does a workflow: migrate, supervisor, start, message, end.
run_root() { # NAME ROOT
  local root=$2 config=$scratch/romancy.toml
  local romancy=("$root/usr/bin/romancy" --config "$config")
  cluster_start "$scratch" fsync=off
  psql -qX -d postgres -c 'CREATE DATABASE romancy'
  printf '%s\n' '[database]' "url = \"host=$PGHOST port=$PGPORT user=$PGUSER dbname=romancy\"" \
    '[runtime]' "dir = \"$scratch/run\"" '[[resumer]]' 'name = "hello"' "command = [\"$root.hello/hello_worker\"]" >"$config"
  "${romancy[@]}" migrate >/dev/null
  "$root/usr/bin/romancy-supervisor" --config "$config" >"$scratch/supervisor.log" 2>&1 &
  supervisor=$!
  until_says 'hello.1 *ready' "${romancy[@]}" status
  "${romancy[@]}" start hello --input '"package"' --id p-1 >/dev/null
  "${romancy[@]}" publish answer --data '"good"' --to p-1 >/dev/null
  until_says completed "${romancy[@]}" show p-1
  "${romancy[@]}" stop >/dev/null
  wait "$supervisor" || fail "$1: the supervisor exited with $?"
  supervisor=
  echo "$1: a workflow ran to its end"
}

deb=$(one 'romancyd_*.deb')
rpm=$(one 'romancyd-*.rpm')
dpkg-deb -x "$deb" "$scratch/deb"
mkdir "$scratch/rpm"
(cd "$scratch/rpm" && rpm2cpio "$rpm" | cpio --extract --make-directories --quiet)
check_root "$(basename "$deb")" "$scratch/deb"
check_root "$(basename "$rpm")" "$scratch/rpm"
run_root "$(basename "$deb")" "$scratch/deb"
for project in "$here"/../examples/*/commands.sh; do
  build_project "$(basename "$deb")" "$(basename "$(dirname "$project")")" "$scratch/deb"
done
echo "$(basename "$deb"): every example builds against its SDK"
dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./conffiles | grep -q romancy.toml || fail "romancy.toml is not a conffile"
