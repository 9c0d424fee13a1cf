psql -qf tables.sql

# All goes well.
romancy start trip --input @paris.json --id ada
romancy publish agreed --to ada
romancy result ada --wait

# The third step fails: the second and the first are undone.
romancy start trip --input @atlantis.json --id plato --wait

# Cancelled while it waits: undone as well.
romancy start trip --input @paris.json --id bob
until_says 'waits for a message' romancy show bob
romancy cancel bob --reason 'Bob is ill'
romancy result bob --wait

psql -c 'SELECT trip, entry FROM journal ORDER BY id'
psql -c 'TABLE offers ORDER BY what'
