romancy start hello --input '"Ada"' --id ada-1
until_says 'waits for a message' romancy show ada-1
until_says progress romancy show ada-1

# Both workers die. The supervisor starts others, and one of those goes on with Ada.
kill -9 $(romancy status | awk '/^hello.* ready / { print $3 }')
romancy publish answer --to ada-1 --data '"good morning"'
romancy result ada-1 --wait
psql -c "SELECT seq, kind, name, data FROM romancy.workflow_history WHERE instance_id = 'ada-1' ORDER BY seq"
