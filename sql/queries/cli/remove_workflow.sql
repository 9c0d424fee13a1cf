-- romancy remove. False: there is none; 55000 when it has not finished.
-- Index: pk of instances. Locks: the instance.
SELECT remove_workflow($1::text);
