-- When there is room for an activity: tasks of one queue, of the activities this program registers for it.
-- Index: tasks_due. Locks: the tasks (skip locked).
SELECT task_id, token, activity, input, attempt, key, instance_id, details, lease_us
  FROM claim_activity_tasks($1, $2, $3::int, NULL, $4::text[]);
