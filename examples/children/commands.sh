# Three children; one fails, and the parent is told.
romancy start order --input @three.json --id o-1 --wait

# A child waits, and is sent a message by its own id.
romancy start order --input @signed.json --id o-2
until_says 'waits for a message' romancy show o-2-to-Oslo
romancy publish signature --to o-2-to-Oslo --data '"Kari"'
romancy result o-2 --wait

# A parent that is cancelled takes along the children that have not ended.
romancy start order --input @signed.json --id o-3
until_says 'waits for a child of parcel' romancy show o-3
until_says 'waits for a message' romancy show o-3-to-Oslo
psql -c 'TABLE romancy.workflow_children'
romancy cancel o-3 --reason 'changed my mind'
romancy result o-3-to-Oslo --wait
psql -c "SELECT instance_id, status FROM romancy.workflow_instances WHERE instance_id LIKE 'o-3%' ORDER BY 1"

# What was started as no child went its own way.
romancy result books-of-o-3 --wait
