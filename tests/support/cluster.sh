# cluster.sh: a private PostgreSQL cluster for ./dev test and the demo; to be sourced by bash.
#
#   cluster_start DIR [NAME=VALUE ...]   makes and starts a cluster under DIR; sets PGHOST, PGPORT, PGUSER
#   cluster_restart_immediate DIR        kills it in the middle of whatever it does and starts it again
#   cluster_stop DIR                     harmless when nothing runs
#
# It listens on a Unix socket in DIR only. PostgreSQL refuses to run as root, so root runs it as the user postgres.
# DIR must be readable by that user and its path short: a socket's path has 107 bytes.

cluster_programs=$(find /usr/lib/postgresql/*/bin -name initdb 2>/dev/null | sort -V | tail -1)
cluster_programs=${cluster_programs%/initdb}

cluster_as_user() { # DIR COMMAND..: in DIR, because the caller's directory may be closed to postgres
  local dir=$1
  shift
  if [ "$(id -u)" = 0 ]; then
    (cd "$dir" && runuser -u postgres -- "$@")
  else
    (cd "$dir" && "$@")
  fi
}

cluster_start() {
  local dir=$1 setting
  shift
  [ -n "$cluster_programs" ] || { echo "no PostgreSQL server programs under /usr/lib/postgresql" >&2; return 1; }
  [ ${#dir} -le 80 ] || { echo "$dir: too long for a Unix socket; set TMPDIR to a shorter one" >&2; return 1; }
  mkdir -p "$dir/pg"
  if [ "$(id -u)" = 0 ]; then
    chmod 755 "$dir"
    chown postgres: "$dir/pg"
  fi
  chmod 711 "$dir/pg"
  cluster_as_user "$dir/pg" "$cluster_programs/initdb" -D "$dir/pg/data" -A trust -U postgres \
    --no-locale --encoding=UTF8 --no-sync >"$dir/initdb.log" || { cat "$dir/initdb.log" >&2; return 1; }
  {
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$dir/pg'"
    echo "max_connections = 1000"
    for setting in "$@"; do echo "${setting%%=*} = ${setting#*=}"; done
  } | cluster_as_user "$dir/pg" tee -a data/postgresql.conf >/dev/null
  export PGHOST=$dir/pg PGPORT=5432 PGUSER=postgres
  cluster_up "$dir"
}

cluster_up() {
  cluster_as_user "$1/pg" "$cluster_programs/pg_ctl" -D "$1/pg/data" -l "$1/pg/server.log" -w -t 60 -s start \
    || { cat "$1/pg/server.log" >&2; return 1; }
}

cluster_restart_immediate() {
  cluster_as_user "$1/pg" "$cluster_programs/pg_ctl" -D "$1/pg/data" -m immediate -w -s stop
  cluster_up "$1"
}

cluster_stop() {
  if [ -f "$1/pg/data/postmaster.pid" ]; then
    cluster_as_user "$1/pg" "$cluster_programs/pg_ctl" -D "$1/pg/data" -m immediate -w -s stop
  fi
}
