-- romancy compensate: compensations that failed for good run again. 55000: it waits for no such decision.
-- Index: pk of instances. Locks: none.
SELECT retry_compensations($1::text);
