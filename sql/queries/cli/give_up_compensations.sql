-- romancy compensate --give-up: compensations that failed for good are left undone. 55000: it waits for no such decision.
-- Index: pk of instances. Locks: none.
SELECT give_up_compensations($1::text);
