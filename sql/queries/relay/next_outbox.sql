-- How long to sleep: microseconds until the earliest pending attempt, negative when late, NULL when none.
-- Index: outbox_due(next_attempt_at, seq). Locks: none.
SELECT next_outbox();
