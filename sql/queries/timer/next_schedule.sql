-- How far ahead is the next look at schedules: microseconds, negative when late, NULL when none; and the database's clock, in
-- microseconds since 1970. Who: timer, after what it did about schedules.
-- Index: schedules_due, schedules_queued, pk of instances. Locks: none.
SELECT ahead, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM next_schedule() AS ahead;
