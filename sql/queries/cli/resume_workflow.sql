-- romancy resume: an instance that was parked as stuck goes on. False: it was not stuck.
-- Index: pk of instances. Locks: the instance.
SELECT resume_workflow($1::text);
