-- versions: what operators decide about instances that are pinned to a version of the code, and about the workers of one
-- (docs/adr/0012). Pinning itself is part of a commit (commit_runs).

-- set_workflow_version: an operator moves an instance to another version, or pins one that is not pinned. True: done;
-- false: it is that version's already. Whoever holds it goes on; who claims it next is a worker of that version. One that
-- is parked stays so, until it is resumed or a worker of that version starts.
-- Refuses by name (22023): NULL, a bad name, an unknown id; and (55000) one that has finished.
-- Callers: romancy; not for applications. Commit: the caller's; a transaction that is left open is cut off after five
-- seconds, because the commit of a run of this instance may wait for it.
-- Index: pk of instances, of stuck, routes_id. Locks: the instance, waiting; its row of stuck.
CREATE OR REPLACE FUNCTION set_workflow_version(instance_id text, version text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_id ALIAS FOR $1;
  v_version ALIAS FOR $2;
  v_instance record;
  v_names record;
  v_route bigint;
BEGIN
  PERFORM need_read_committed('set_workflow_version');
  PERFORM check_name('instance_id', v_id), check_name('version', v_version);
  IF current_setting('idle_in_transaction_session_timeout')::interval NOT BETWEEN '1 ms' AND '5 s' THEN
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
  END IF;
  SELECT i.status, i.route_id, i.version, i.session_id
    INTO v_instance
    FROM instances i
   WHERE i.instance_id = v_id
     FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'instance_id: there is no instance %', quote_literal(v_id) USING ERRCODE = '22023';
  ELSIF v_instance.status IN (2, 3, 4) THEN
    RAISE EXCEPTION 'instance_id: % has finished: %', quote_literal(v_id),
      (ARRAY['completed', 'failed', 'cancelled'])[v_instance.status - 1] USING ERRCODE = '55000';
  ELSIF v_instance.version = v_version THEN
    RETURN false;
  END IF;
  SELECT r.queue, r.workflow_name INTO v_names FROM routes r WHERE r.route_id = v_instance.route_id LIMIT 1;
  v_route := enter_route(v_names.queue, v_names.workflow_name, v_version);
  UPDATE instances SET version = v_version, route_id = v_route WHERE instance_id = v_id;
  UPDATE stuck SET route_id = v_route WHERE instance_id = v_id;
  -- Who holds it looks before it lets go. Else what is unread lies under a poke of the route it had.
  IF v_instance.session_id IS NULL AND v_instance.status <> 5 THEN
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT v_route, i.lane, v_id FROM instances i WHERE i.instance_id = v_id;
    PERFORM hint_resumable(v_id, v_names.workflow_name);
  END IF;
  RETURN true;
END
$$;

-- hint_version: workers look, because what those of this version may take is another now. It names no instance, so each
-- process of each program hears it.
-- Callers: drain_version, resume_version. Index, locks: none.
CREATE OR REPLACE FUNCTION hint_version(version text)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('workflow_resumable', jsonb_build_object('version', version))
$$;

-- drain_version: workers of this version take nothing any more that is not pinned to it; what is pinned goes on. Of claims
-- from this commit on; one that is under way may still take something, and pin it. False: it drains already.
-- It needs no worker of that version, and stays until resume_version.
-- Callers: romancy; not for applications. Commit: the caller's. Index: pk of draining_versions. Locks: its row: who drains
-- or resumes the same version waits; workers only read it.
CREATE OR REPLACE FUNCTION drain_version(version text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM check_name('version', $1);
  INSERT INTO draining_versions (version) VALUES ($1) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM hint_version($1);
  RETURN true;
END
$$;

-- resume_version: its workers take again what is not pinned. False: it did not drain.
-- Callers, commit, index, locks: as drain_version.
CREATE OR REPLACE FUNCTION resume_version(version text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM check_name('version', $1);
  DELETE FROM draining_versions d WHERE d.version = $1;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM hint_version($1);
  RETURN true;
END
$$;

-- forward_pokes: pokes of routes that nobody claims, of instances that have another route by now. Returns how many.
--
-- Whoever writes a poke reads the instance's route without a lock, and may commit long after the instance was pinned,
-- recurred, or was moved. A claim of the old route passes such a poke on; but the workers of the old route may be gone by
-- then, for that is what versions are for. So somebody has to look at the routes of which nobody is left.
-- Of a long queue, which waits for a worker that is to come, a call looks at a stretch of a thousand: from its beginning,
-- or from anywhere.
-- Callers: reap_sessions. Index: pokes_queue, pk of instances, routes_id. Locks: the pokes that it moves, for as long as a
-- claim that has just begun to serve their route.
CREATE OR REPLACE FUNCTION forward_pokes()
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  c_stretch CONSTANT int := 1000;
  v_claimed bigint[];
  v_route record;
  v_lane text;
  v_xid xid8;
  v_id bigint;
  v_ids text[];
  v_moved int := 0;
BEGIN
  v_claimed := ARRAY(SELECT DISTINCT x.id
                       FROM (SELECT unnest(s.routes) AS id,
                                    (SELECT true FROM draining_versions d WHERE d.version = s.version) AS drains
                               FROM sessions s
                              WHERE s.session_id > 0) x
                      WHERE x.drains IS NULL
                         OR (SELECT r.version FROM routes r WHERE r.route_id = x.id LIMIT 1) <> '');
  FOR v_route IN
    SELECT DISTINCT r.route_id AS id
      FROM routes r
     WHERE r.route_id > 0  -- all, in the order of the index
       AND r.route_id <> ALL (v_claimed)
       AND (SELECT true FROM pokes p WHERE p.route_id = r.route_id ORDER BY p.lane, p.xid, p.id LIMIT 1)
  LOOP
    v_lane := '';
    v_xid := '0';
    v_id := 0;
    IF random() < 0.5 THEN
      SELECT p.lane, p.xid, p.id
        INTO v_lane, v_xid, v_id
        FROM pokes p TABLESAMPLE SYSTEM (1)
       WHERE p.route_id = v_route.id
       LIMIT 1;
    END IF;
    WITH strays AS (
      DELETE FROM pokes
       WHERE ctid = ANY (ARRAY(SELECT s.ctid
                                 FROM (SELECT p.ctid, p.instance_id
                                         FROM pokes p
                                        WHERE p.route_id = v_route.id
                                          AND (p.lane, p.xid, p.id) >= (coalesce(v_lane, ''), coalesce(v_xid, '0'), coalesce(v_id, 0))
                                        ORDER BY p.lane, p.xid, p.id
                                        LIMIT c_stretch) s
                                WHERE (SELECT i.route_id FROM instances i WHERE i.instance_id = s.instance_id) <> v_route.id))
      RETURNING instance_id)
    SELECT array_agg(DISTINCT s.instance_id) INTO v_ids FROM strays s;
    CONTINUE WHEN v_ids IS NULL;
    -- In a later statement: one that has moved once more is found again.
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT i.route_id, i.lane, i.instance_id
      FROM instances i
     WHERE i.instance_id = ANY (v_ids);
    PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
       FROM instances i
      WHERE i.instance_id = ANY (v_ids);
    v_moved := v_moved + cardinality(v_ids);
  END LOOP;
  RETURN v_moved;
END
$$;
