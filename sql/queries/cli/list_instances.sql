-- romancy list. NULL status, workflow_name or version: any. Newest first; before: only those that come after this instance
-- there.
-- Index: none, it sorts the whole table; pk of instances. Locks: none.
SELECT instance_id, workflow_name, queue, status, worker, created_at, finished_at, note, version
  FROM workflow_instances
 WHERE ($1::text IS NULL OR status = $1::text)
   AND ($2::text IS NULL OR workflow_name = $2::text)
   AND ($4::text IS NULL OR (created_at, instance_id) < (SELECT i.created_at, i.instance_id FROM instances i WHERE i.instance_id = $4::text))
   AND ($5::text IS NULL OR version = $5::text)
 ORDER BY created_at DESC, instance_id DESC
 LIMIT $3::int;
