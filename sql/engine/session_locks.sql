-- holds_session_lock: this very connection holds the session's advisory lock. Advisory locks are re-entrant: without
-- this question a timer that tries locks would get its own, and end itself.
-- Callers: start_session, reap_session, reap_sessions. Reads pg_locks: not for hot paths.
CREATE OR REPLACE FUNCTION holds_session_lock(session_id bigint)
RETURNS boolean
LANGUAGE sql VOLATILE AS
$$
  SELECT EXISTS (
    SELECT
      FROM pg_locks l
     WHERE l.locktype = 'advisory'
       AND l.pid = pg_backend_pid()
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND l.objsubid = 1
       AND l.classid::bigint = session_id >> 32
       AND l.objid::bigint = session_id & 4294967295)
$$;

-- session_is_orphaned: nobody holds the session's advisory lock: its connection is gone. Takes the lock until the end
-- of this transaction, so that only one reaper goes on.
CREATE OR REPLACE FUNCTION session_is_orphaned(session_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN NOT holds_session_lock($1) AND pg_try_advisory_xact_lock($1);
END
$$;
