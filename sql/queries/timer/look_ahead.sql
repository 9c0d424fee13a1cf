-- How far ahead is the earliest deadline of these kinds: microseconds, negative when late, NULL when none; and the
-- database's clock, in microseconds since 1970, so that a hint's absolute time can be compared without the host's.
-- Who: timer, in the same round trip as fire_timers. Index: deadlines(expires_at). Locks: none.
SELECT ahead, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM next_timer($1::smallint[]) AS ahead;
