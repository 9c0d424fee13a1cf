-- romancy schedule remove. Index: pk of schedules. Locks: the schedule.
SELECT remove_schedule($1::text);
