-- At the earliest due_at, after hints about schedules, on a resync, and in every sweep.
-- Index: schedules_due, schedules_queued, pk of instances. Locks: schedules with a queued tick (skip locked).
SELECT started, name, version, cron, every_s, time_zone, planned_from_us, next_tick_us, cutoff_us, clock_us
  FROM look_at_schedules($1::int);
