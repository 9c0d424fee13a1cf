-- How long to sleep: microseconds until the earliest deadline of these kinds, negative when late, NULL when none.
-- Index: deadlines(expires_at). Locks: none.
SELECT next_timer($1::smallint[]);
