-- romancy show: what it waits for in the clock.
-- Index: pk of deadlines. Locks: none.
SELECT timer_id, kind, expires_at
  FROM timers
 WHERE instance_id = $1::text
 ORDER BY expires_at;
