-- At the earliest deadline, on a resync, and in every sweep. Kind 100 is no kind of deadline: leases and pauses of queued
-- activities.
-- Index: deadlines(expires_at), tasks_watched. Locks: the due rows (skip locked): two timers never fire one deadline.
SELECT instance_id, timer_id, late_us
  FROM fire_timers($1::smallint[], $2::int)
 UNION ALL
SELECT instance_id, timer_id, late_us
  FROM expire_tasks($2::int)
 WHERE 100 = ANY ($1::smallint[]);
