-- After the sink said no, or nothing. False: the event is no longer held under this session and attempt.
-- Index: pk of outbox. Locks: the row.
SELECT fail_outbox($1::bigint, $2::text, $3::int, $4::text, $5::interval, $6::boolean);
