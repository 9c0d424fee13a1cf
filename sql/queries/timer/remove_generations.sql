-- Generations of the archive whose time is over, a batch.
-- Index: former_generations(ended_at). Locks: their rows (skip locked).
SELECT removed, more, ahead_us
  FROM remove_generations($1::bigint * interval '1 millisecond', $2::int);
