# Bob answers within the hour; Eve has a tenth of a second, three times.
romancy start invitation --input @bob.json --id bob
until_says 'why .*waits for a message on answer' romancy show bob | sed 's/until.*/until ../'
romancy publish answer --to bob --data '"with pleasure"'
romancy result bob --wait
romancy start invitation --input @eve.json --id eve --wait
psql -c "SELECT kind, name, data FROM romancy.workflow_history WHERE instance_id = 'eve' ORDER BY seq"

# Two shops and a timer: who is first?
romancy start price --id tea --wait
