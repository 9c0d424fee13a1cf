-- Finished instances whose time is over, a batch.
-- Index: instances(status, finished_at). Locks: the instances (skip locked).
SELECT removed, more, ahead_us
  FROM remove_finished($1::smallint, $2::bigint * interval '1 millisecond', $3::int);
