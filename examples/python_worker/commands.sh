# The activity is a task in the database, and nobody is there who could do it: the workflow waits, out of memory.
romancy start louder --input '"good morning"' --id ada
until_says 'waits for activity' romancy show ada
psql -c 'SELECT queue, activity, instance_id, status FROM romancy.activity_tasks'

# Somebody comes who can, in another language; the database is all that the two have in common.
./worker.py dbname=example >/dev/null 2>&1 &
romancy result ada --wait
