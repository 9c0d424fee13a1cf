-- The whole history of an instance whose run is no longer in memory although the claim said fresh.
-- Index: pk of history. Locks: none; the caller holds the lease.
SELECT read_history($1::text);
