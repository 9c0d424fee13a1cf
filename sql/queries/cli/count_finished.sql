-- romancy prune --dry-run: how many there are.
-- Index: instances(status, finished_at). Locks: none.
SELECT count(*)
  FROM instances
 WHERE status = $1::smallint
   AND finished_at <= clock_timestamp() - $2::bigint * interval '1 millisecond';
