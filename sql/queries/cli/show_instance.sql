-- romancy show. served: some live worker may take it: serves its workflow, and has the version it is pinned to, or, if it
-- is not pinned, none that drains. draining: it is not pinned, and the version of some that serve its workflow drains.
-- Index: pk of instances and of history. Locks: none.
SELECT instance_id, workflow_name, queue, status, input, output, error, note, worker, created_at, finished_at,
       EXISTS (SELECT FROM workers w WHERE i.queue || '/' || i.workflow_name = ANY (w.workflows)
                  AND CASE WHEN i.version IS NULL THEN NOT w.draining ELSE w.version = i.version END) AS served, generation,
       progress, version,
       i.version IS NULL AND EXISTS (SELECT FROM workers w WHERE i.queue || '/' || i.workflow_name = ANY (w.workflows)
                                        AND w.draining) AS draining
  FROM workflow_instances i
 WHERE instance_id = $1::text;
