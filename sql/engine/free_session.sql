-- free_session: gives back all that a session holds and forgets it. Returns the number of instances freed.
--
-- Of a crash (crash = true) all that the session held are suspected, for nobody knows which of them it was; but if there
-- are some that killed two workers before, the one of them that was begun last is blamed, and nobody else: claim_runs
-- gives each of these a time of its own.
-- The caller has locked the session's row FOR UPDATE in an earlier statement, so that claims under way (they hold it
-- FOR KEY SHARE) are over and their journal rows visible here (hole H9).
-- Callers: end_session, reap_session, reap_sessions, start_session.
-- Index: claims_session, pk of instances, inbox_pkey, outbox_held.
-- Locks: instances, in id order, waiting: a commit under way was either before us, and we see what it released, or
-- comes after us, and finds its fence gone. Then outbox rows in id order.
CREATE OR REPLACE FUNCTION free_session(session_id bigint, crash boolean)
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_session ALIAS FOR $1;
  v_crash ALIAS FOR $2;
  c_suspected CONSTANT int := 2;  -- crashes; the same number as in claim_runs
  v_ids text[];
  v_blamed text;              -- NULL: all
  v_event text;
BEGIN
  SELECT array_agg(held.instance_id)
    INTO v_ids
    FROM (SELECT i.instance_id
            FROM instances i
           WHERE i.instance_id = ANY (ARRAY(SELECT unnest(c.ids) FROM claims c WHERE c.session_id = v_session))
             AND i.session_id = v_session
           ORDER BY i.instance_id
             FOR NO KEY UPDATE) held;

  IF v_ids IS NOT NULL THEN
    UPDATE instances SET session_id = NULL, last_session = v_session WHERE instance_id = ANY (v_ids);
    IF (SELECT true FROM queues q LIMIT 1) THEN
      PERFORM free_slots(v_ids);
    END IF;
    -- A bare poke is not enough: a run that had consumed everything would be looked at and left (hole 12).
    IF v_crash THEN
      SELECT s.id
        INTO v_blamed
        FROM (SELECT mine.id,
                     (SELECT CASE WHEN count(*) >= c_suspected THEN coalesce(max((b.data ->> 'alone')::bigint), 0) END
                        FROM inbox b
                       WHERE b.instance_id = mine.id AND NOT b.seen AND b.kind = 7 AND b.data -> 'crash' = 'true') AS begun
                FROM unnest(v_ids) mine (id)) s
       WHERE s.begun IS NOT NULL
       ORDER BY s.begun DESC
       LIMIT 1;
    END IF;
    INSERT INTO inbox (instance_id, kind, data)
    SELECT x, 7, jsonb_build_object('crash', v_crash AND coalesce(x = v_blamed, true))
      FROM unnest(v_ids) x;
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT i.route_id, i.lane, i.instance_id
      FROM instances i
     WHERE i.instance_id = ANY (v_ids);
    PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
       FROM instances i
      WHERE i.instance_id = ANY (v_ids);
  END IF;

  -- What a relay had in hand becomes due at once, before what came after it. One hint is enough: a relay that looks
  -- takes all that is due.
  WITH freed AS (
    UPDATE outbox
       SET session_id = NULL, next_attempt_at = created_at
     WHERE event_id = ANY (ARRAY(SELECT o.event_id
                                   FROM outbox o
                                  WHERE o.session_id = v_session
                                  ORDER BY o.event_id
                                    FOR NO KEY UPDATE))
    RETURNING event_id)
  SELECT min(f.event_id) INTO v_event FROM freed f;
  IF v_event IS NOT NULL THEN
    PERFORM hint('outbox_pending', jsonb_build_object('event_id', v_event));
  END IF;

  DELETE FROM claims WHERE session_id = v_session;
  DELETE FROM sessions WHERE session_id = v_session;
  RETURN coalesce(cardinality(v_ids), 0);
END
$$;
