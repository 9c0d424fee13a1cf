-- romancy schedule resume. Index: pk of schedules. Locks: the schedule.
SELECT resume_schedule($1::text);
