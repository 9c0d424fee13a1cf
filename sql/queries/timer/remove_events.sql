-- Events that were delivered or given up, and whose time is over, a batch.
-- Index: outbox_over. Locks: the rows (skip locked).
SELECT removed, more, ahead_us
  FROM remove_events($1::smallint, $2::bigint * interval '1 millisecond', $3::int);
