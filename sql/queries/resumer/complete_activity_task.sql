-- The activity has ended. Index: pk of tasks. Locks: the task.
SELECT complete_activity_task($1::bigint, $2::bigint, $3::jsonb);
