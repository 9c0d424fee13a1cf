-- romancy show. served: some live worker serves its workflow.
-- Index: pk of instances and of history. Locks: none.
SELECT instance_id, workflow_name, queue, status, input, output, error, note, worker, created_at, finished_at,
       EXISTS (SELECT FROM workers w WHERE i.queue || '/' || i.workflow_name = ANY (w.workflows)) AS served, generation,
       progress
  FROM workflow_instances i
 WHERE instance_id = $1::text;
