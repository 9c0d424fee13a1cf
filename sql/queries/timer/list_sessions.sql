-- Every session there is; the timer then tries their locks one by one (reap_session).
-- Who: timer, once after it started. Index: none, one row a living process. Locks: none.
SELECT session_id
  FROM sessions;
