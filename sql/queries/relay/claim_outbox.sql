-- On a wake, a resync, a sweep, and when the earliest retry is due.
-- Index: outbox_due(next_attempt_at, seq). Locks: session (key share), the rows taken (skip locked).
SELECT event_id, event_type, event_source, data, content_type, created_at, attempt
  FROM claim_outbox($1::bigint, $2::int, $3::interval);
