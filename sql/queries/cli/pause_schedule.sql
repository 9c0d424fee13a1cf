-- romancy schedule pause. Index: pk of schedules. Locks: the schedule.
SELECT pause_schedule($1::text);
