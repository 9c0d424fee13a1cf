-- children: instances that instances start, what becomes of them when their parent ends, and how it is told of their end.
--
-- A row of `children` exists exactly while both the child and its parent are active. Whoever ends an instance locks the
-- rows in which it is child or parent first, in one order, and then deletes them: so of a child and a parent that end at
-- once one sees the other's row, and the other sees none.
-- All of it is part of a commit, under the locks of its instances.

-- start_children: the instances that the accepted runs of a batch start. op 0: no child; an id that exists is well then.
-- A child whose id exists is refused: an inbox row of its parent, which the commit's look sees.
--
-- An id may be one that an application is starting in a transaction that stays open. Nobody can see that; the insertion
-- waits. So it waits for a second at most, and that id alone is refused (or, op 0, given up: the application starts it).
-- Callers: commit_runs. SECURITY DEFINER: a worker may start instances, in no other way than this.
-- Index: pk of instances, routes_id. Locks: new rows, in id order.
CREATE OR REPLACE FUNCTION start_children(
  ids text[], acc boolean[], run int[], op int[], id text[], workflow text[], queue text[], input text[],
  follows boolean[], lanes text[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_ids ALIAS FOR $1;
  v_acc ALIAS FOR $2;
  v_timeout CONSTANT text := current_setting('lock_timeout');
  v_wanted text[];   -- ids, and their routes: of two runs that want one id the first gets it
  v_routes bigint[];
  v_lanes text[];
  v_first int[];     -- whose: the position in the arguments
  v_made text[];
  v_busy text[] := '{}';
  v_n int;
  v_life int := new_life();
BEGIN
  SELECT array_agg(w.id ORDER BY w.id),
         array_agg((SELECT r.route
                      FROM (SELECT enter_route(w.queue, w.workflow) AS route OFFSET 0) r) ORDER BY w.id),
         array_agg(w.lane ORDER BY w.id),
         array_agg(w.n ORDER BY w.id)
    INTO v_wanted, v_routes, v_lanes, v_first
    FROM (SELECT DISTINCT ON (x.id) x.id, x.queue, x.workflow, x.lane, x.n
            FROM unnest($3, $5, $6, $7, $10) WITH ORDINALITY x (run, id, workflow, queue, lane, n)
           WHERE v_acc[x.run]
           ORDER BY x.id, x.n) w;
  IF v_wanted IS NULL THEN
    RETURN;
  END IF;

  PERFORM set_config('lock_timeout', '1s', true);
  BEGIN
    WITH made AS (
      INSERT INTO instances (instance_id, route_id, lane, generation, first_generation, lease_token)
      SELECT x.id, x.route, x.lane, v_life, v_life, v_life::bigint << 32
        FROM unnest(v_wanted, v_routes, v_lanes) WITH ORDINALITY x (id, route, lane, n)
       ORDER BY x.n
      ON CONFLICT DO NOTHING
      RETURNING instance_id)
    SELECT array_agg(m.instance_id) INTO v_made FROM made m;
  EXCEPTION
    WHEN lock_not_available THEN
      -- One of them is being started elsewhere: which one, each says for itself.
      v_made := '{}';
      FOR v_n IN 1 .. cardinality(v_wanted) LOOP
        BEGIN
          INSERT INTO instances (instance_id, route_id, lane, generation, first_generation, lease_token)
          VALUES (v_wanted[v_n], v_routes[v_n], v_lanes[v_n], v_life, v_life, v_life::bigint << 32)
          ON CONFLICT DO NOTHING;
          IF FOUND THEN
            v_made := v_made || v_wanted[v_n];
          END IF;
        EXCEPTION
          WHEN lock_not_available THEN
            v_busy := v_busy || v_wanted[v_n];
        END;
      END LOOP;
  END;
  PERFORM set_config('lock_timeout', v_timeout, true);
  -- Those that had to wait for a removal to make room.
  IF new_life() <> v_life THEN
    v_life := new_life();
    UPDATE instances
       SET generation = v_life, first_generation = v_life, lease_token = v_life::bigint << 32
     WHERE instance_id = ANY (v_made);
  END IF;

  INSERT INTO inbox (instance_id, kind, op, data)
  SELECT x.id, 1, v_life, x.input::jsonb
    FROM unnest($5, $8) WITH ORDINALITY x (id, input, n)
   WHERE x.n = ANY (v_first)
     AND x.id = ANY (v_made)
   ORDER BY x.n;
  INSERT INTO pokes (route_id, lane, instance_id)
  SELECT x.route, x.lane, x.id
    FROM unnest(v_wanted, v_routes, v_lanes) x (id, route, lane)
   WHERE x.id = ANY (v_made);
  PERFORM hint_resumable(x.id, x.workflow)
     FROM unnest($5, $6) WITH ORDINALITY x (id, workflow, n)
    WHERE x.n = ANY (v_first)
      AND x.id = ANY (v_made);
  INSERT INTO children (child_id, parent_id, op, follows)
  SELECT x.id, v_ids[x.run], x.op, x.follows
    FROM unnest($3, $4, $5, $9) WITH ORDINALITY x (run, op, id, follows, n)
   WHERE x.n = ANY (v_first)
     AND x.id = ANY (v_made)
     AND x.op <> 0;

  INSERT INTO inbox (instance_id, kind, op, name, data)
  SELECT v_ids[x.run], 11, x.op, x.workflow,
         jsonb_build_object('status', 'refused', 'error', jsonb_build_object(
           'type', 'ChildRefused',
           'message', CASE WHEN x.id = ANY (v_busy)
                           THEN 'a transaction that is open starts an instance ' || quote_literal(x.id)
                           ELSE 'there is an instance ' || quote_literal(x.id) || ' already' END))
    FROM unnest($3, $4, $5, $6) WITH ORDINALITY x (run, op, id, workflow, n)
   WHERE v_acc[x.run]
     AND x.op <> 0
     AND NOT (x.n = ANY (v_first) AND x.id = ANY (coalesce(v_made, '{}')))
   ORDER BY x.n;
END
$$;

-- send_cancels: cancellations of these instances, with a reason each. One that is unknown or has finished is left alone;
-- one that waits for its start_at begins at once, to be told first thing (as cancel_workflow does it).
-- Callers: commit_runs, stop_children, end_children. Index: pk of instances, of deadlines, routes_id. Locks: none.
CREATE OR REPLACE FUNCTION send_cancels(ids text[], reasons text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_ids text[];
  v_reasons text[];
  v_routes bigint[];
  v_lanes text[];
BEGIN
  SELECT array_agg(x.id ORDER BY x.n), array_agg(x.reason ORDER BY x.n), array_agg(active.route_id ORDER BY x.n),
         array_agg(active.lane ORDER BY x.n)
    INTO v_ids, v_reasons, v_routes, v_lanes
    FROM unnest($1, $2) WITH ORDINALITY x (id, reason, n)
   CROSS JOIN LATERAL (SELECT i.route_id, i.lane
                         FROM instances i
                        WHERE i.instance_id = x.id
                          AND i.status IN (1, 5, 6)
                       OFFSET 0) active;
  IF v_ids IS NULL THEN
    RETURN;
  END IF;
  INSERT INTO inbox (instance_id, kind, op, data)
  SELECT x.id, 1, waits.generation, waits.data
    FROM unnest(v_ids) x (id)
   CROSS JOIN LATERAL (SELECT d.data,
                              (SELECT i.generation FROM instances i WHERE i.instance_id = d.instance_id) AS generation
                         FROM deadlines d
                        WHERE d.instance_id = x.id
                          AND d.op = 0
                          AND d.kind = 4
                       OFFSET 0) waits;
  INSERT INTO inbox (instance_id, kind, data)
  SELECT x.id, 6, jsonb_build_object('reason', x.reason)
    FROM unnest(v_ids, v_reasons) x (id, reason);
  INSERT INTO pokes (route_id, lane, instance_id)
  SELECT x.route, x.lane, x.id
    FROM unnest(v_ids, v_routes, v_lanes) x (id, route, lane);
  PERFORM hint_resumable(x.id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = x.route LIMIT 1))
     FROM unnest(v_ids, v_routes) x (id, route);
END
$$;

-- stop_children: children for whose end the accepted runs of a batch do not wait any more. By operation: one that was refused
-- has no row, and the instance that has its id is a stranger.
-- Callers: commit_runs. Index: children_parent, and as send_cancels. Locks: none.
CREATE OR REPLACE FUNCTION stop_children(ids text[], acc boolean[], run int[], op int[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM send_cancels(array_agg(own.child_id ORDER BY own.child_id),
                       array_agg('its parent does not wait for it any more'::text ORDER BY own.child_id))
     FROM (SELECT s.run, array_agg(s.op) AS ops FROM unnest($3, $4) s (run, op) WHERE $2[s.run] GROUP BY s.run) x
    CROSS JOIN LATERAL (SELECT c.child_id
                          FROM children c
                         WHERE c.parent_id = $1[x.run]
                           AND c.op = ANY (x.ops)
                        OFFSET 0) own;
END
$$;

-- end_children: these instances end (their last row of history is written) or continue as new. Parents are told how
-- their children ended; children that follow a parent that ended are cancelled; those of a generation that is over are
-- nobody's to wait for, but follow the instance still.
-- Callers: commit_runs, before it clears inboxes: what another commit told one of these is there by then.
-- Index: pk of children, children_parent, pk of instances, pk of history. Locks: children, in id order, waiting: for
-- commits that hold them and wait for no other child.
CREATE OR REPLACE FUNCTION end_children(ended text[], recurred text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_rows text[];
  v_ids text[];
  v_reasons text[];
BEGIN
  v_rows := ARRAY(SELECT c.child_id FROM children c WHERE c.child_id = ANY ($1)
                  UNION
                  SELECT c.child_id FROM children c WHERE c.parent_id = ANY ($1 || $2));
  IF v_rows = '{}' THEN
    RETURN;
  END IF;
  PERFORM FROM children c WHERE c.child_id = ANY (v_rows) ORDER BY c.child_id FOR UPDATE;

  WITH gone AS (
    DELETE FROM children
     WHERE child_id = ANY (ARRAY(SELECT unnest(v_rows) INTERSECT SELECT unnest($1)))
    RETURNING child_id, parent_id, op),
  report AS (
    SELECT g.parent_id, g.op, active.route_id, active.lane, final.kind, final.data,
           (SELECT r.workflow_name
              FROM instances i
             CROSS JOIN LATERAL (SELECT n.workflow_name FROM routes n WHERE n.route_id = i.route_id LIMIT 1) r
             WHERE i.instance_id = g.child_id) AS workflow_name
      FROM gone g
     CROSS JOIN LATERAL (SELECT h.kind, h.data
                           FROM history h
                          WHERE h.instance_id = g.child_id
                          ORDER BY h.seq DESC
                          LIMIT 1) final
     CROSS JOIN LATERAL (SELECT i.route_id, i.lane
                           FROM instances i
                          WHERE i.instance_id = g.parent_id
                            AND i.status IN (1, 5, 6)
                         OFFSET 0) active
     WHERE g.op <> 0),
  told AS (
    INSERT INTO inbox (instance_id, kind, op, name, data)
    SELECT p.parent_id, 11, p.op, p.workflow_name,
           CASE p.kind
             WHEN 16 THEN jsonb_build_object('status', 'completed', 'output', p.data)
             WHEN 17 THEN jsonb_build_object('status', 'failed', 'error', p.data)
             ELSE jsonb_build_object('status', 'cancelled', 'error', jsonb_build_object(
                    'type', 'WorkflowCancelled', 'message', coalesce(p.data ->> 'reason', '')))
           END
      FROM report p),
  poked AS (
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT p.route_id, p.lane, p.parent_id FROM report p)
  SELECT array_agg(DISTINCT p.parent_id) INTO v_ids FROM report p;
  PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
     FROM instances i
    WHERE i.instance_id = ANY (v_ids);

  WITH gone AS (
    DELETE FROM children
     WHERE child_id = ANY (v_rows)
       AND parent_id = ANY ($1)
    RETURNING child_id, parent_id, follows)
  SELECT array_agg(g.child_id ORDER BY g.child_id), array_agg('its parent ' || g.parent_id || ' has ended' ORDER BY g.child_id)
    INTO v_ids, v_reasons
    FROM gone g
   WHERE g.follows;
  PERFORM send_cancels(v_ids, v_reasons);

  UPDATE children SET op = 0 WHERE child_id = ANY (v_rows) AND parent_id = ANY ($2);
END
$$;
