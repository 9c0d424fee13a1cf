-- romancy status: who is there, what it serves ('<queue>/<workflow>'), how many leases it holds.
-- Index: claims(session_id). Locks: none.
SELECT session_id, worker, kind, workflows, started_at, expires_at, leases
  FROM workers
 ORDER BY started_at, session_id;
