-- heartbeat_session: the worker lives; and which of its running activities should stop.
--
-- alive = false: the session is over; drop every run, begin a new session. cancelled: those of in_flight with a cancel
-- row nobody has read, or that of a workflow's own time. Also packs the claim journal: of its rows, only the ids still leased are kept, in one row. That
-- is never too early: an instance leased anew has a journal row of its own, committed together with that lease.
-- Callers: resumer, relay, timer; every third of the session time-out. Commit: asynchronous (lost: it looks older).
-- Index: pk of sessions, claims_session, pk of instances, inbox_pkey. Locks: the session row (claims go on beside it,
-- end_session does not).
CREATE OR REPLACE FUNCTION heartbeat_session(session_id bigint, timeout interval, in_flight text[])
RETURNS TABLE (alive boolean, cancelled text[])
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_session ALIAS FOR $1;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  UPDATE sessions SET expires_at = clock_timestamp() + $2 WHERE session_id = v_session;
  IF NOT FOUND THEN
    RETURN QUERY SELECT false, '{}'::text[];
    RETURN;
  END IF;

  WITH trimmed AS (
    DELETE FROM claims WHERE session_id = v_session RETURNING ids)
  INSERT INTO claims (session_id, ids)
  SELECT v_session, array_agg(i.instance_id)
    FROM instances i
   WHERE i.instance_id = ANY (ARRAY(SELECT DISTINCT unnest(t.ids) FROM trimmed t))
     AND i.session_id = v_session
  HAVING count(*) > 0;

  RETURN QUERY
  SELECT true, ARRAY(SELECT DISTINCT x
                       FROM unnest($3) x
                      WHERE (SELECT true
                               FROM inbox b
                              WHERE b.instance_id = x AND NOT b.seen AND b.kind IN (6, 8)
                              LIMIT 1));
END
$$;
