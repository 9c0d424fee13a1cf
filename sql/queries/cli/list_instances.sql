-- romancy list. NULL status or workflow_name: any. Newest first.
-- Index: none, it sorts the whole table. Locks: none.
SELECT instance_id, workflow_name, queue, status, worker, created_at, finished_at, note
  FROM workflow_instances
 WHERE ($1::text IS NULL OR status = $1::text)
   AND ($2::text IS NULL OR workflow_name = $2::text)
 ORDER BY created_at DESC, instance_id
 LIMIT $3::int;
