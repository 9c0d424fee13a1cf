-- After the sink said yes. Counts those that were still held under this session and attempt.
-- Index: pk of outbox. Locks: the rows, in id order.
SELECT complete_outbox($1::bigint, $2::text[], $3::int[]);
