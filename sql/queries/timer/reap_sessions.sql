-- In every sweep: ends the sessions whose time is over and, if asked, those whose connection is gone.
-- Locks: sessions (skip locked), their instances in id order.
SELECT session_id, worker, freed
  FROM reap_sessions($1::boolean);
