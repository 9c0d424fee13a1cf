-- The attempt has failed. Index: pk of tasks. Locks: the task.
SELECT fail_activity_task($1::bigint, $2::bigint, $3, $4, $5::boolean);
