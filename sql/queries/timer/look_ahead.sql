-- How far ahead is the earliest deadline of these kinds (100: of a queued activity): microseconds, negative when late, NULL
-- when none; and the database's clock, in microseconds since 1970, so that a hint's absolute time can be compared without
-- the host's.
-- Who: timer, in the same round trip as fire_timers. Index: deadlines(expires_at), tasks_watched. Locks: none.
SELECT least(next_timer($1::smallint[]), CASE WHEN 100 = ANY ($1::smallint[]) THEN next_task() END),
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
