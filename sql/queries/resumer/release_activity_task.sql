-- This process is being stopped. Index: pk of tasks. Locks: the task.
SELECT release_activity_task($1::bigint, $2::bigint);
