#!/usr/bin/env bash
# demo.sh: the orders example under fire (README.md). ./dev demo builds and calls it; ctest runs it with 40 orders.
#
#   demo.sh --build-dir DIR [--orders N] [--no-listener]
#
# Everything runs in one temporary directory: a private PostgreSQL, the supervisor with all its children, the receiver.
# Exit 0 only when every order is accounted for and every effect was done once. On failure the logs are kept.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=../../tests/support/cluster.sh
. "$here/../../tests/support/cluster.sh"

orders=500
listener=true
build_dir=
while [ $# -gt 0 ]; do
  case $1 in
    --build-dir) build_dir=$(readlink -f "${2:?}") && shift 2 ;;
    --orders) orders=${2:?} && shift 2 ;;
    --no-listener) listener=false && shift ;;
    *) echo "usage: demo.sh --build-dir DIR [--orders N] [--no-listener]" >&2 && exit 64 ;;
  esac
done
[ -x "$build_dir/bin/romancy-supervisor" ] || { echo "demo: no build in '$build_dir' (./dev build)" >&2; exit 64; }
[[ $orders =~ ^[0-9]+$ ]] && [ "$orders" -ge 10 ] && [ "$orders" -le 500 ] \
  || { echo "demo: --orders: 10 to 500" >&2; exit 64; }
bin=$build_dir/bin

# ---- the stage: made, and always cleaned up ------------------------------------------------------------------------

dir=$(mktemp -d "${TMPDIR:-/tmp}/romancy-demo.XXXXXX")
started=$SECONDS
supervisor= receiver= client_pid=
finished=false

end_process() { # PID NAME: asks it to stop, and waits until it has
  local pid=$1 name=$2 tries
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 0
  kill -TERM "$pid"
  for ((tries = 0; tries < 300; tries++)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  echo "demo: $name did not stop within 30 s, killed" >&2
  kill -KILL "$pid"
}

clean_up() {
  local code=$?
  trap - EXIT
  set +e
  end_process "$client_pid" client
  end_process "$supervisor" supervisor
  end_process "$receiver" receiver
  cluster_stop "$dir"
  if [ "$finished" = false ] && [ $code -lt 128 ]; then
    local logs=$build_dir/demo-logs.$orders-$listener
    rm -rf "$logs"
    mkdir -p "$logs"
    cp "$dir"/*.log "$dir"/*.toml "$dir"/pg/server.log "$logs/" 2>/dev/null
    echo "demo: failed; logs are in $logs" >&2
  fi
  rm -rf "$dir"
  exit $code
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

say() { printf '%4d s  %s\n' $((SECONDS - started)) "$*"; }
die() { say "$*" >&2; exit 1; }
sql() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

wait_for() { # SECONDS WHAT COMMAND..: until the command succeeds; a fact, with a guard against hanging
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    kill -0 "$supervisor" 2>/dev/null || { tail -5 "$dir/supervisor.log" >&2; die "the supervisor is gone"; }
    [ $SECONDS -lt $deadline ] || die "waited in vain: $what"
    sleep 0.1
  done
}

# status SELECT: asks `romancy status --json` a question in SQL; the document is :'doc'.
status() {
  "$bin/romancy" --config "$dir/romancy.toml" status --json >"$dir/status.json" 2>>"$dir/cli.log" || return 1
  sql -v doc="$(cat "$dir/status.json")" <<<"$1"
}
all_ready() {
  [ "$(status "SELECT bool_and(c ->> 'state' = 'ready') FROM jsonb_array_elements(:'doc'::jsonb -> 'components') AS c")" = t ]
}
pid_of() { # COMPONENT
  status "SELECT c ->> 'pid' FROM jsonb_array_elements(:'doc'::jsonb -> 'components') AS c WHERE c ->> 'name' = '$1'"
}
kill_component() {
  local pid
  pid=$(pid_of "$1")
  [ -n "$pid" ] || die "no process $1 to kill"
  kill -KILL "$pid"
  echo "$1 $pid" >>"$dir/kills"
  say "kill -9 $1 (pid $pid)"
}

# client FIRST LAST SQLFILE: what a client does: says it again when its connection was lost.
client() {
  local deadline=$((SECONDS + 60))
  until sql -o /dev/null -v first="$1" -v last="$2" -f "$here/demo/$3" 2>>"$dir/client.log"; do
    [ $SECONDS -lt $deadline ] || die "the client cannot get through: $(tail -1 "$dir/client.log")"
    sleep 0.2
  done
}
fact() { [ "$(sql -c "SELECT $1" 2>>"$dir/client.log")" = t ]; }

# ---- set-up --------------------------------------------------------------------------------------------------------

say "a private PostgreSQL in $dir"
cluster_start "$dir" track_commit_timestamp=on recovery_init_sync_method=syncfs
sql -d postgres -c 'CREATE DATABASE shop'
export PGDATABASE=shop SHOP_DATABASE="host=$PGHOST port=$PGPORT user=$PGUSER dbname=shop"

"$bin/orders_receiver" --port-file "$dir/receiver.port" --log "$dir/received.jsonl" --fail-every 9 >"$dir/receiver.log" 2>&1 &
receiver=$!
until [ -s "$dir/receiver.port" ]; do
  kill -0 $receiver 2>/dev/null || { cat "$dir/receiver.log" >&2; die "the receiver does not start"; }
  sleep 0.05
done

mkdir -m 700 "$dir/run"
cat >"$dir/romancy.toml" <<TOML
[database]
url = "$SHOP_DATABASE"
migrate = true
[runtime]
dir = "$dir/run"
[listener]
enabled = $listener
[poll]
fallback_interval = "5s"
[session]
timeout = "5s"
[relay]
url = "http://127.0.0.1:$(cat "$dir/receiver.port")/events"
retry_delay = "200ms"
retry_delay_max = "2s"
[supervisor]
bin_dir = "$bin"
[[resumer]]
name = "orders"
command = ["$bin/orders_worker"]
processes = 2
TOML
"$bin/romancy-supervisor" --config "$dir/romancy.toml" >"$dir/supervisor.log" 2>&1 &
supervisor=$!
wait_for 60 "every process is ready" all_ready
sql -f "$here/shop.sql" -f "$here/demo/tables.sql"
# The JSON lines as they are: two control characters that no JSON contains stand in for CSV's comma and quote.
head -n "$orders" "$here/orders.jsonl" \
  | sql -c "COPY demo.incoming (doc) FROM STDIN WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')"

# ---- the run -------------------------------------------------------------------------------------------------------

half=$((orders / 2))
third=$((orders / 3))
say "placing orders 1 to $half, each in a transaction of its own"
client 1 "$third" start.sql
kill_component orders.1
client $((third + 1)) "$half" start.sql
kill_component timer
say "confirming their payments"
client 1 "$half" confirm.sql
wait_for 60 "an event has been delivered" fact "EXISTS (SELECT FROM romancy.outbox_events WHERE status = 'delivered')"
kill_component relay

say "placing orders $((half + 1)) to $orders; meanwhile PostgreSQL is restarted with -m immediate"
client $((half + 1)) "$orders" start.sql &
client_pid=$!
wait_for 60 "the client is at work" fact "(SELECT count(*) FROM shop.orders) > $half"
cluster_restart_immediate "$dir"
say "PostgreSQL is back"
wait $client_pid || die "the client failed"
client_pid=
if [ $listener = true ]; then kill_component listener; fi
say "confirming the other payments"
client $((half + 1)) "$orders" confirm.sql

deadline=$((SECONDS + 120))
line=
while :; do
  # Looked at once a second: this loop informs a person, and asks whether anything is left to wait for.
  if now=$(sql -F '|' -f "$here/demo/progress.sql" 2>>"$dir/client.log"); then
    [ "${now%|*}" = "$line" ] || say "${now%|*}"
    line=${now%|*}
    [ "${now##*|}" != t ] || break
  fi
  kill -0 $supervisor 2>/dev/null || die "the supervisor is gone"
  [ $SECONDS -lt $deadline ] || break  # the report says what is missing
  sleep 0.5
done
wait_for 60 "every process is ready again" all_ready

# ---- the report ----------------------------------------------------------------------------------------------------

sql -c "COPY demo.kills FROM STDIN WITH (DELIMITER ' ')" <"$dir/kills"
sql -c "COPY demo.received FROM STDIN WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')" <"$dir/received.jsonl"
status "INSERT INTO demo.status VALUES (:'doc')"
echo
psql -qX -v ON_ERROR_STOP=1 -v notified=$listener -f "$here/demo/report.sql"
if [ "$(sql -c 'SELECT count(*) FROM demo.report WHERE verdict <> $$ok$$ AND verdict <> $$$$')" = 0 ]; then
  finished=true
  say "every order is accounted for, every effect was done once"
else
  sql -F '  ' -f "$here/demo/problems.sql" >&2
  die "something was lost, done twice, or is unexplained"
fi
