-- romancy prune: a batch of instances that ended this way longer ago than that.
-- Index: instances(status, finished_at). Locks: the instances (skip locked).
SELECT removed, more
  FROM remove_finished($1::smallint, $2::bigint * interval '1 millisecond', 500);
