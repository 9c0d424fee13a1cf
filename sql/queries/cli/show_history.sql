-- romancy show: what it did and was told, oldest first.
-- Index: pk of history. Locks: none.
SELECT seq, op, kind, name, data, created_at
  FROM workflow_history
 WHERE instance_id = $1::text
 ORDER BY seq;
