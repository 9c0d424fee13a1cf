# The program that runs gets a name for its version. An order is on its way.
echo 'version = "2026-10"' >>"$ROMANCY_CONFIG"
romancy reload >/dev/null
until_says '^2026-10 *2 ' romancy versions
romancy start order --input '"Ada"' --id ada
until_says 'waits for a message' romancy show ada

# The next version runs beside it, and the old one takes nothing new.
printf '[[resumer]]\nname = "new"\ncommand = ["%s"]\nversion = "2026-11"\n' "$BUILT/side_by_side_worker_new" \
  >>"$ROMANCY_CONFIG"
romancy reload >/dev/null
until_says '^2026-11 *1 ' romancy versions
romancy drain-version 2026-10

# Bob's order is the new version's. Ada's stays with the old one, also when its workers die.
romancy start order --input '"Bob"' --id bob
until_says 'waits for a message' romancy show bob
kill -9 $(romancy status | awk '/^side_by_side.* ready / { print $3 }')
romancy list --version 2026-10 | awk '{ print $1, $2 }'
romancy list --version 2026-11 | awk '{ print $1, $2 }'
romancy publish packed --to ada
romancy publish packed --to bob
romancy result ada --wait
romancy result bob --wait

# Nothing is left that only the old version can do: it may go.
until_says '^2026-10 *[0-9]* *0 ' romancy versions | awk '{ print "of", $1 ":", $3, "instances" }'
