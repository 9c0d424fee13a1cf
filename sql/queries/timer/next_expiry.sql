-- How long until the earliest session expires if it does not beat: microseconds, negative when late, NULL when there is
-- none. Who: timer, in the same round trip as reap_sessions. Index: none, one row a living process. Locks: none.
SELECT (extract(epoch FROM min(expires_at) - clock_timestamp()) * 1000000)::bigint
  FROM sessions;
