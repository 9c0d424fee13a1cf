# The first version runs. An old customer has paid the first month.
romancy start subscription --input '"Ada"' --id ada
until_says 'waits for a message' romancy show ada

# The second version is installed in its place, and the workers are replaced.
ln -sf "$BUILT/versions_worker_v2" "$INSTALLED"
romancy restart versions.1
romancy restart versions.2
until_says '^versions.1 *ready.* exit 0' romancy status >/dev/null
until_says '^versions.2 *ready.* exit 0' romancy status >/dev/null

# A new customer comes; both stay for a second month.
romancy start subscription --input '"Bob"' --id bob
romancy publish month.over --to ada
romancy publish month.over --to ada
romancy publish month.over --to bob
romancy publish month.over --to bob
romancy result ada --wait
romancy result bob --wait

# Bob's history says that he went the new way.
psql -c "SELECT instance_id, kind, name FROM romancy.workflow_history \
         WHERE kind IN ('patched', 'activity_completed') ORDER BY instance_id, seq"
