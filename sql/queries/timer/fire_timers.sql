-- At the earliest deadline, on a resync, and in every sweep.
-- Index: deadlines(expires_at). Locks: the due rows (skip locked): two timers never fire one deadline.
SELECT instance_id, timer_id, late_us
  FROM fire_timers($1::smallint[], $2::int);
