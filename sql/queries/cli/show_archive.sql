-- romancy show --archive: what the generations did that continued as new, oldest first.
-- Index: pk of history_archive. Locks: none.
SELECT generation, seq, op, kind, name, data, created_at
  FROM workflow_history_archive
 WHERE instance_id = $1::text
 ORDER BY generation, seq;
