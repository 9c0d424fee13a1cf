#!/usr/bin/env bash
# run.sh: runs an example for real (README.md): a private PostgreSQL, the supervisor with all its children, the example's
# worker, and then the commands of NAME/commands.sh one after the other, as if typed.
#
#   run.sh --build-dir DIR NAME            what they print must be NAME/expected.txt, and stand in NAME/README.md
#   run.sh --build-dir DIR NAME --shell    nothing is typed: the shell is yours, in the same place
#
# ./dev example builds and calls it, and so does ctest. Everything is in one temporary directory, and goes with it; when
# something went wrong the logs are kept.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=../tests/support/cluster.sh
. "$here/../tests/support/cluster.sh"

usage() { echo "usage: run.sh --build-dir DIR NAME [--shell]; NAME: $(cd "$here" && echo */commands.sh | sed 's,/commands.sh,,g')" >&2; exit 64; }
[ $# -ge 3 ] && [ "$1" = --build-dir ] || usage
build_dir=$(readlink -f "$2")
name=$3
[ -f "$here/$name/commands.sh" ] && { [ $# -eq 3 ] || [ "${4:-}" = --shell ]; } || usage
[ -x "$build_dir/bin/romancy-supervisor" ] || { echo "example: no build in '$build_dir' (./dev build)" >&2; exit 64; }
if [ "$name" = python_worker ] && ! /usr/bin/python3 -c 'import psycopg2' 2>/dev/null; then
  echo "example: NOT RUN: python3-psycopg2 is missing" >&2
  exit 77
fi

# ---- the stage: made, and always cleaned up ------------------------------------------------------------------------

dir=$(mktemp -d "${TMPDIR:-/tmp}/romancy-example.XXXXXX")
supervisor=
finished=false
stop_supervisor() {
  if [ -n "$supervisor" ] && kill -0 "$supervisor" 2>/dev/null; then
    kill -TERM "$supervisor"
    wait "$supervisor" || { echo "example: the supervisor ended with $?" >&2; return 1; }
  fi
}
clean_up() {
  local code=$?
  trap - EXIT
  set +e
  stop_supervisor
  cluster_stop "$dir"
  if [ "$finished" = false ] && [ $code -lt 128 ]; then
    local logs=$build_dir/example-logs.$name
    rm -rf "$logs"
    mkdir -p "$logs"
    cp "$dir"/*.log "$dir"/*.toml "$dir"/*.txt "$dir"/pg/server.log "$logs/" 2>/dev/null
    echo "example: failed; logs are in $logs" >&2
  fi
  rm -rf "$dir"
  exit $code
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

cluster_start "$dir" fsync=off
psql -qX -d postgres -c 'CREATE DATABASE example'
mkdir -m 700 "$dir/run"

# What the commands find: the programs, the database, the configuration; the worker as it is installed, and where those
# are that were built.
export PATH="$build_dir/bin:$PATH" PGDATABASE=example ROMANCY_CONFIG="$dir/romancy.toml"
export BUILT="$build_dir/bin" INSTALLED="$dir/worker"
ln -s "$BUILT/${name}_worker" "$INSTALLED"
cat >"$ROMANCY_CONFIG" <<TOML
[database]
url = "host=$PGHOST port=$PGPORT user=$PGUSER dbname=example"
migrate = true
[runtime]
dir = "$dir/run"
[[resumer]]
name = "$name"
command = ["$INSTALLED"]
processes = 2
TOML
romancy-supervisor --config "$ROMANCY_CONFIG" >"$dir/supervisor.log" 2>&1 &
supervisor=$!

# until_says TEXT COMMAND..: repeats the command until its output has the text, and prints that line. Who types looks
# again by himself.
until_says() {
  local text=$1 deadline=$((SECONDS + 60)) line
  shift
  until line=$("$@" 2>&1 | grep -m 1 -e "$text"); do
    [ $SECONDS -lt $deadline ] || { echo "waited in vain for '$text' from: $*"; "$@"; return 1; }
    sleep 0.05
  done
  echo "$line"
}
export -f until_says

ready() { # all five that there are
  romancy status 2>/dev/null | awk '
    $2 == "STATE" { listed = 1; next }
    NF == 0 { listed = 0 }
    listed && $2 == "ready" { ++count }
    END { exit count != 5 }'
}
deadline=$((SECONDS + 60))
until ready; do
  kill -0 "$supervisor" 2>/dev/null || { cat "$dir/supervisor.log" >&2; echo "example: the supervisor is gone" >&2; exit 1; }
  [ $SECONDS -lt $deadline ] || { romancy status >&2; echo "example: not ready in time" >&2; exit 1; }
  sleep 0.05
done

# ---- the session ---------------------------------------------------------------------------------------------------

cd "$here/$name"
if [ "${4:-}" = --shell ]; then
  echo "$name is running: 'romancy --help', 'psql', and the commands of commands.sh; 'exit' ends it all" >&2
  bash --norc || echo "example: the shell ended with $?" >&2
  finished=true
  exit 0
fi

# Comments as they stand, and whole commands: a line that ends with a backslash goes on. The limit is a guard against hanging:
# nothing follows then.
session() {
  local line command=
  while IFS= read -r line <&3; do
    if [[ -z $command && ($line == '#'* || -z $line) ]]; then
      printf '%s\n' "$line"
      continue
    fi
    command+=$line
    if [[ $line == *\\ ]]; then
      command+=$'\n'
      continue
    fi
    printf '$ %s\n' "$command"
    local code=0
    timeout 60 bash -c "$command" || code=$?
    [ $code -eq 0 ] || printf '(exit code %s)\n' $code
    [ $code -ne 124 ] || return 0
    command=
  done 3<commands.sh
}
session 2>&1 | tee "$dir/actual.txt"

if ! diff -u expected.txt "$dir/actual.txt" >"$dir/difference.txt"; then
  echo "example: it did not print expected.txt:" >&2
  cat "$dir/difference.txt" >&2
  exit 1
fi
[[ $(<README.md) == *"$(<expected.txt)"* ]] || { echo "example: README.md does not show what expected.txt says" >&2; exit 1; }
stop_supervisor
if grep -E 'Sanitizer:|runtime error:' "$dir/supervisor.log" >&2; then exit 1; fi  # of a build that has them
finished=true
