-- start_session: a worker process begins; or begins anew, because it lost its connections (former: what it held then).
--
-- queues and workflow_names are pairs, one route each; with a version two: that of what is pinned to it, and that of what is
-- not pinned, which the first commit will pin (docs/adr/0012). Takes the session-level advisory lock on *this* connection: as
-- long as it is held, the process lives (reap_sessions). Ends the former sessions as lost connections (no crash), and
-- lets instances go on that were parked because an earlier program did not match their history.
-- Callers: resumer, relay, timer. Returns their routes.
-- Commit: synchronous, always. The id is half of the fence and must not come back from a crash unused.
-- Index: routes_id, pk of sessions, stuck_route. Locks: former sessions in id order, their instances in id order, then
-- the parked instances (skip locked).
CREATE OR REPLACE FUNCTION start_session(
  session_id bigint, worker text, kind text, queues text[], workflow_names text[], timeout interval, former bigint[],
  version text DEFAULT NULL)
RETURNS TABLE (route_id bigint, queue text, workflow_name text)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_session ALIAS FOR $1;
  v_queues ALIAS FOR $4;
  v_names ALIAS FOR $5;
  v_version ALIAS FOR $8;
  v_versions text[] := ARRAY[''];
  v_former bigint;
  v_routes bigint[];
BEGIN
  PERFORM need_read_committed('start_session');
  IF v_session IS NULL OR v_session <= 0 THEN
    RAISE EXCEPTION 'session_id: must be positive' USING ERRCODE = '22023';
  ELSIF cardinality(v_queues) IS DISTINCT FROM cardinality(v_names) THEN
    RAISE EXCEPTION 'workflow_names: % names for % queues, they are pairs', cardinality(v_names), cardinality(v_queues)
      USING ERRCODE = '22023';
  END IF;
  PERFORM check_name('queues', x) FROM unnest(v_queues) x;
  PERFORM check_name('workflow_names', x) FROM unnest(v_names) x;
  IF v_version IS NOT NULL THEN
    PERFORM check_name('version', v_version);
    v_versions := v_versions || v_version;
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  SELECT array_agg(DISTINCT enter_route(x.queue, x.name, v.version))
    INTO v_routes
    FROM unnest(v_queues, v_names) x (queue, name)
   CROSS JOIN unnest(v_versions) v (version);
  INSERT INTO sessions (session_id, worker, kind, routes, version, expires_at)
  VALUES (v_session, $2, $3, coalesce(v_routes, '{}'), v_version, clock_timestamp() + $6);
  IF NOT pg_try_advisory_lock(v_session) THEN
    RAISE EXCEPTION 'session_id: % is in use', v_session USING ERRCODE = '22023';
  END IF;

  FOR v_former IN SELECT DISTINCT x FROM unnest($7) x WHERE x <> v_session ORDER BY x
  LOOP
    PERFORM FROM sessions s WHERE s.session_id = v_former FOR UPDATE;
    IF FOUND THEN
      PERFORM free_session(v_former, false);
    END IF;
    IF holds_session_lock(v_former) THEN
      PERFORM pg_advisory_unlock(v_former);
    END IF;
  END LOOP;

  -- One that is locked is being resumed, by another worker's start or by a person who may keep the transaction open.
  PERFORM unpark(ARRAY(SELECT i.instance_id
                         FROM instances i
                        WHERE i.instance_id = ANY (ARRAY(SELECT p.instance_id
                                                           FROM stuck p
                                                          WHERE p.route_id = ANY (v_routes)))
                          AND i.status = 5
                          AND i.note LIKE 'mismatch%'
                          FOR NO KEY UPDATE SKIP LOCKED));

  RETURN QUERY
  SELECT DISTINCT route_id(x.queue, x.name, v.version), x.queue, x.name
    FROM unnest(v_queues, v_names) x (queue, name)
   CROSS JOIN unnest(v_versions) v (version)
   ORDER BY 1;
END
$$;
