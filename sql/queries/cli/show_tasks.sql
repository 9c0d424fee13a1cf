-- romancy show: the queued activities it waits for.
-- Index: tasks_instance. Locks: none.
SELECT activity, queue, status, attempt, worker, due_at, details, last_error, op
  FROM activity_tasks
 WHERE instance_id = $1::text
 ORDER BY op;
