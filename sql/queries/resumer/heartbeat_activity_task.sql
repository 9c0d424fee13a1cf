-- Three times in a lease, while the activity runs. Index: pk of tasks. Locks: the task.
SELECT heartbeat_activity_task($1::bigint, $2::bigint, $3::jsonb);
