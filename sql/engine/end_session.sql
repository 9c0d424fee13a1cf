-- end_session: ends one session. Returns the instances freed; NULL when there is no such session, or (only_expired)
-- when a heartbeat came first.
--
-- Callers: a worker that stops in order (crash = false), whoever knows that it died (crash = true).
-- Commit: asynchronous; lost means the session is there again, and ended again.
-- Index: pk of sessions. Locks: session, then free_session().
CREATE OR REPLACE FUNCTION end_session(session_id bigint, crash boolean, only_expired boolean)
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM need_read_committed('end_session');
  PERFORM set_config('synchronous_commit', 'off', true);
  -- Lock, then look: waits for claims under way and is asked again after a heartbeat that was faster.
  PERFORM
     FROM sessions s
    WHERE s.session_id = $1
      AND (NOT $3 OR s.expires_at < clock_timestamp())
      FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN free_session($1, $2);
END
$$;

-- reap_session: the hub says that this session's process hung up. Ends it if its advisory lock can be had, so that a
-- process that only lost its hub keeps its work; NULL when not. The process is dead: its leases count as crashes.
-- Callers: timer. Index: pk of sessions. Locks: the advisory lock (tried), session, then free_session().
CREATE OR REPLACE FUNCTION reap_session(session_id bigint)
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM need_read_committed('reap_session');
  PERFORM set_config('synchronous_commit', 'off', true);
  IF NOT session_is_orphaned($1) THEN
    RETURN NULL;
  END IF;
  PERFORM FROM sessions s WHERE s.session_id = $1 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN free_session($1, true);
END
$$;

-- reap_sessions: ends every session that is expired, and with try_locks every one whose connection is gone (not behind
-- a transaction pooler, where session-level locks mean nothing).
--
-- A session that is locked (a claim or a heartbeat is under way) is left for the next sweep: two reapers, or a reaper
-- and a hung claim, never wait for each other.
-- Callers: timer, in each sweep, and not before one time-out has passed since its own (re)connect: after an outage of
-- the database everybody looks expired. Commit: asynchronous.
-- Then looks after routes whose workers are all gone (forward_pokes).
-- Index: none, there are as many rows as processes. Locks: sessions (skip locked) in id order, then free_session();
-- forward_pokes().
CREATE OR REPLACE FUNCTION reap_sessions(try_locks boolean)
RETURNS TABLE (session_id bigint, worker text, freed int)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_try_locks ALIAS FOR $1;
  v_candidate record;
BEGIN
  PERFORM need_read_committed('reap_sessions');
  PERFORM set_config('synchronous_commit', 'off', true);
  FOR v_candidate IN
    SELECT s.session_id, s.worker FROM sessions s ORDER BY s.session_id
  LOOP
    PERFORM
       FROM sessions s
      WHERE s.session_id = v_candidate.session_id
        AND (s.expires_at < clock_timestamp() OR v_try_locks AND session_is_orphaned(s.session_id))
        FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    RETURN QUERY
    SELECT v_candidate.session_id, v_candidate.worker, free_session(v_candidate.session_id, true);
  END LOOP;
  PERFORM forward_pokes();
END
$$;
