-- Messages an earlier run left behind, before a wait for their channel is registered. NULL: the lease is over.
-- Index: inbox(instance_id, seen, id). Locks: none; only the holder of the lease changes seen rows.
SELECT read_seen($1::bigint, $2::text, $3::bigint, $4::text, $5::bigint, $6::int);
