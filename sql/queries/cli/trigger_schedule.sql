-- romancy schedule trigger. Index: pk of schedules. Locks: as start_workflow.
SELECT trigger_schedule($1::text);
