-- claim_runs: take pokes, lock their instances, look, lease. One round trip; each inner statement has its own snapshot,
-- and that is the point: LOCK, THEN LOOK. A look in the statement that locks reads the past (holes H1, H4).
--
-- A poke means "look", no more; the inbox is the truth. Taken pokes of leased instances may go, because their holder
-- looks under the same row lock before it lets go. What could not be locked is appended again and reported as skipped:
-- the caller must come back (H5), after 1, 2, 4 .. milliseconds. Re-appended pokes do not notify.
--
-- Answer: one row an instance leased, then one with instance_id NULL whose inbox is
--   {"over": the session has ended, "taken": pokes, "skipped": instances, "marks": one a route,
--    "more": worth asking again, "again_us": so many microseconds from now, when the rate of a queue lets another begin}
-- Who killed its worker twice (two crashes unseen) is suspected: it is leased alone, in an answer of one, so that it does
-- not take others down with it; the others that were found are put back, and hinted, for somebody else to take.
-- fresh: this session also held it last, so its memory has the history: history is NULL. left_behind: rows marked seen.
-- Route 0 is that of the channels: its pokes say "look at this channel", and are matched first (match_channels), so
-- that the instances which got a message can be leased by this very claim; the others are hinted.
-- An instance whose route is not among these (since the poke was written it was pinned to a version, or lost its pin, or
-- its id was removed and started again elsewhere) gets a poke where it is now.
-- A session whose version is draining asks only the routes of what is pinned; for the others their marks stay.
-- A mark is where the scan of its route may begin: no poke below it can appear any more. It comes from a plain read,
-- never from what SKIP LOCKED returned (H14). It is one for all lanes of the route (lanes.sql), and does not move while
-- there are more of them than one call looks at. "<mark>/<lane>": so that the caller's next claim goes on with the lane after.
--
-- Of a queue that has a limit (queues.sql) no more are leased than its slots allow; one that is paused, or whose row somebody
-- else has locked, is closed in this call.
--
-- Lookups are scalar subqueries, not joins and not EXISTS: their plans, kept since the tables were empty, must stay
-- lookups (see commit_runs).
-- Callers: resumer. Commit: asynchronous (lost: the lease is over and the poke is back; the fence is the pair).
-- Index: pokes_queue, pk of instances, inbox_pkey, pk of history.
-- Locks: session FOR KEY SHARE (so that end_session sees this claim, H9), then limited queues (tried), pokes, channels (tried), what is queued
-- on them, and instances, all with SKIP LOCKED: after the session's row a claim waits for nobody. An idle claim locks and writes nothing.
CREATE OR REPLACE FUNCTION claim_runs(session_id bigint, route_ids bigint[], marks text[], want int, inbox_limit int)
RETURNS TABLE (
  instance_id text, workflow_name text, lease_token bigint, generation int, status smallint, fresh boolean,
  crashes int, left_behind boolean, inbox jsonb, history jsonb, clock_us bigint, created_us bigint,
  first_generation int)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_session ALIAS FOR $1;
  v_routes ALIAS FOR $2;
  v_want ALIAS FOR $4;
  v_inbox_limit ALIAS FOR $5;
  c_most_pokes CONSTANT int := 4000;  -- a call; drains a hot instance without making the answer late
  c_most_at_once CONSTANT int := 1000;
  c_most_channels CONSTANT int := 256;
  c_suspected CONSTANT int := 2;  -- crashes; the same number as in free_session and the resumer
  v_drains boolean;
  v_marks xid8[];
  v_open boolean[];         -- routes that may have more
  v_first int;              -- where a pass begins: no route starves behind another
  v_n int;
  v_left int;               -- routes still to ask in this pass
  v_limit int;
  v_xmin xid8;              -- of the snapshot that the marks were read in
  v_first_xid xid8;         -- the lowest one of all lanes of a route
  v_laned int[];            -- routes with other lanes than the default one
  v_turns text[];           -- of each route: the lane it took from last
  v_lanes text[];           -- the default one of each route, then those of routes with others, at v_from .. v_to, most urgent first
  v_lane_open boolean[];
  v_from int[];
  v_to int[];
  v_group_end int[];        -- where the lanes of the same priority end
  v_lane int;
  v_part int;               -- pokes to take from a lane in this pass
  v_order text[];           -- as v_ids, in the order of taking
  v_more_lanes boolean := false;
  v_queue record;
  v_gate record;
  v_at int[];               -- of each route: 0 not limited, -1 closed, or which of
  v_queues text[] := '{}';  -- the limited ones that this claim locked
  v_at_once int[] := '{}';
  v_of_key int[] := '{}';
  v_free int[];             -- how many may begin in this pass,
  v_rest int[];             -- less what was taken for them
  v_skipped_queues int := 0;
  v_key text;
  v_begins int[] := '{}';   -- of the limited queues: how many may begin, by the rate; NULL: any number
  v_begun int[] := '{}';
  v_spoken int[];           -- and how many were taken for that in this pass
  v_wait boolean[] := '{}'; -- some stand in the lanes of the rate
  v_ready text[];           -- those of this pass that stood there
  v_starting int[];
  v_standing text[] := '{}';
  v_next_us bigint;
  v_again_us bigint;
  v_size int;               -- pokes to take in this pass
  v_more text[];
  v_ids text[];             -- instances of the pokes of this pass
  v_locked text[];
  v_look text[];
  v_finished text[];
  v_leased text[];
  v_elsewhere text[];       -- whose route is not ours: started anew since the poke was written
  v_moved text[] := '{}';   -- all of them
  v_skipped text[] := '{}';
  v_surplus text[] := '{}';
  v_suspects text[];
  v_alone boolean := false; -- one of them was leased
  v_runs int := 0;
  v_got int;
  v_taken int := 0;
  v_over boolean := false;
  v_channels int := array_position(v_routes, 0::bigint);  -- where route 0 stands
  v_match record;
  v_matched text[];         -- instances that got a message, and that this claim did not lease
  v_skipped_channels int := 0;
  v_more_channels boolean := false;
BEGIN
  PERFORM need_read_committed('claim_runs');
  PERFORM set_config('synchronous_commit', 'off', true);

  v_drains := (SELECT true FROM draining_versions d
                WHERE d.version = (SELECT s.version FROM sessions s WHERE s.session_id = v_session));
  IF v_drains THEN
    v_routes := ARRAY(SELECT CASE WHEN a.id = 0 OR (SELECT r.version FROM routes r WHERE r.route_id = a.id LIMIT 1) <> ''
                                  THEN a.id
                                  ELSE -1  -- nobody's
                             END
                        FROM unnest(v_routes) WITH ORDINALITY a (id, n)
                       ORDER BY a.n);
  END IF;

  -- A mark that other lanes may hold back stays where it is until they have been looked at.
  SELECT array_agg(CASE WHEN a.route_id = -1 OR other.there THEN a.mark
                        ELSE least(pg_snapshot_xmin(pg_current_snapshot()), first.xid)
                   END ORDER BY a.n),
         array_agg(first.xid IS NOT NULL OR other.there ORDER BY a.n),
         CASE WHEN count(a.turn) > 0 THEN array_agg(a.turn ORDER BY a.n) END,
         array_agg(a.n) FILTER (WHERE other.there),
         pg_snapshot_xmin(pg_current_snapshot())
    INTO v_marks, v_open, v_turns, v_laned, v_xmin
    FROM (SELECT x.route_id, split_part(x.mark, '/', 1)::xid8 AS mark,
                 CASE WHEN x.mark LIKE '%/%' THEN substr(x.mark, strpos(x.mark, '/') + 1) END AS turn, x.n::int AS n
            FROM unnest(v_routes, $3) WITH ORDINALITY x (route_id, mark, n)
          OFFSET 0) a
    LEFT JOIN LATERAL (SELECT p.xid
                         FROM pokes p
                        WHERE p.route_id = a.route_id
                          AND p.lane = '5'
                          AND p.xid >= a.mark
                        ORDER BY p.xid, p.id
                        LIMIT 1) first ON true
   CROSS JOIN LATERAL (SELECT coalesce((SELECT true
                                          FROM pokes p
                                         WHERE p.route_id = a.route_id AND p.lane < '5' AND p.xid >= a.mark
                                         ORDER BY p.lane
                                         LIMIT 1),
                                       (SELECT true
                                          FROM pokes p
                                         WHERE p.route_id = a.route_id AND p.lane > '5' AND p.xid >= a.mark
                                         ORDER BY p.lane
                                         LIMIT 1),
                                       false) AS there
                       OFFSET 0) other;

  IF true = ANY (v_open) AND v_want > 0 THEN
    PERFORM FROM sessions s WHERE s.session_id = v_session FOR KEY SHARE;
    v_over := NOT FOUND;
  ELSE
    v_over := NOT EXISTS (SELECT FROM sessions s WHERE s.session_id = v_session);
  END IF;

  IF v_channels IS NOT NULL THEN
    IF NOT v_over AND v_want > 0 AND v_open[v_channels] THEN
      WITH taken AS (
        DELETE FROM pokes
         WHERE ctid = ANY (ARRAY(SELECT p.ctid
                                   FROM pokes p
                                  WHERE p.route_id = 0
                                    AND p.lane = '5'
                                    AND p.xid >= v_marks[v_channels]
                                  ORDER BY p.xid, p.id
                                  LIMIT c_most_channels
                                    FOR UPDATE SKIP LOCKED))
        RETURNING instance_id)
      SELECT array_agg(DISTINCT t.instance_id), count(*) INTO v_ids, v_taken FROM taken t;
      IF v_taken > 0 THEN
        SELECT m.matched, m.skipped, m.more INTO v_match FROM match_channels(v_ids) m;
        v_matched := v_match.matched;
        v_skipped_channels := v_match.skipped;
        v_more_channels := v_match.more OR v_taken = c_most_channels;
        v_open := array_fill(true, ARRAY[cardinality(v_routes)]);  -- matching appends pokes
        v_laned := ARRAY(SELECT a.n::int
                           FROM unnest(v_routes) WITH ORDINALITY a (route_id, n)
                          WHERE coalesce((SELECT true FROM pokes p WHERE p.route_id = a.route_id AND p.lane < '5'
                                           ORDER BY p.lane LIMIT 1),
                                         (SELECT true FROM pokes p WHERE p.route_id = a.route_id AND p.lane > '5'
                                           ORDER BY p.lane LIMIT 1)));
      END IF;
    END IF;
    v_open[v_channels] := false;
  END IF;

  -- Queues that are paused or limited. A paused one is closed, and so is one whose row is locked: by another claim, which is
  -- over in a moment, or by an application that is changing it.
  IF true = ANY (v_open) AND NOT v_over AND v_want > 0 AND (SELECT true FROM queues q LIMIT 1) THEN
    FOR v_queue IN
      SELECT x.name, array_agg(x.n ORDER BY x.n) AS routes
        FROM (SELECT a.n::int AS n,
                     (SELECT r.queue FROM routes r WHERE r.route_id = a.route_id LIMIT 1) AS name
                FROM unnest(v_routes) WITH ORDINALITY a (route_id, n)
              OFFSET 0) x
       WHERE (SELECT true FROM queues q WHERE q.name = x.name)
       GROUP BY x.name
       ORDER BY x.name
    LOOP
      SELECT o.state, o.at_once, o.of_key, o.begins INTO v_gate FROM open_queue(v_queue.name) o;
      v_at := coalesce(v_at, array_fill(0, ARRAY[cardinality(v_routes)]));
      IF v_gate.state = 'limited' THEN
        v_queues := v_queues || v_queue.name;
        v_at_once := v_at_once || v_gate.at_once;
        v_of_key := v_of_key || v_gate.of_key;
        v_begins := v_begins || v_gate.begins;
        v_begun := v_begun || 0;
        v_wait := v_wait || false;
      ELSIF v_gate.state = 'busy' THEN
        v_skipped_queues := v_skipped_queues + 1;
      END IF;
      FOREACH v_n IN ARRAY v_queue.routes LOOP
        IF v_gate.state = 'limited' THEN
          v_at[v_n] := cardinality(v_queues);
        ELSIF v_gate.state <> 'open' THEN
          v_at[v_n] := -1;
          v_open[v_n] := false;
        END IF;
      END LOOP;
    END LOOP;
  END IF;

  -- Lanes: of most routes the default one alone. (An idle claim has nothing to set up.)
  IF true = ANY (v_open) AND NOT v_over AND v_want > 0 THEN
    v_lanes := array_fill('5'::text, ARRAY[cardinality(v_routes)]);
    v_lane_open := array_fill(true, ARRAY[cardinality(v_routes)]);
    v_group_end := array_fill(0, ARRAY[cardinality(v_routes)]);
    FOREACH v_n IN ARRAY coalesce(v_laned, '{}') LOOP
      CONTINUE WHEN v_routes[v_n] = 0;
      SELECT o.lanes, o.first INTO v_more, v_first_xid FROM open_lanes(v_routes[v_n], v_marks[v_n], v_turns[v_n]) o;
      IF v_first_xid IS NULL THEN
        v_more_lanes := true;
      ELSE
        v_marks[v_n] := least(v_xmin, v_first_xid);
      END IF;
      v_from[v_n] := cardinality(v_lanes) + 1;
      v_to[v_n] := cardinality(v_lanes) + cardinality(v_more);
      v_group_end := v_group_end || ARRAY(SELECT cardinality(v_lanes) + max(x.n) OVER (PARTITION BY left(x.lane, CASE WHEN x.lane < 'r' THEN 1 ELSE 2 END))::int
                                            FROM unnest(v_more) WITH ORDINALITY x (lane, n)
                                           ORDER BY x.n);
      IF v_at[v_n] > 0 AND v_more[cardinality(v_more)] > 'r' THEN
        v_wait[v_at[v_n]] := true;
      END IF;
      v_lanes := v_lanes || v_more;
      v_lane_open := v_lane_open || array_fill(true, ARRAY[cardinality(v_more)]);
    END LOOP;
  END IF;

  v_size := least(v_want, c_most_at_once);
  WHILE NOT v_over AND v_runs < v_want AND NOT v_alone AND v_taken < c_most_pokes AND true = ANY (v_open) LOOP
    IF v_queues <> '{}' THEN  -- look, now that the queues are locked
      v_free := ARRAY(SELECT x.at_once - (SELECT count(*)::int FROM slots s WHERE s.queue = x.name)
                        FROM unnest(v_queues, v_at_once) WITH ORDINALITY x (name, at_once, n)
                       ORDER BY x.n);
      v_rest := v_free;
    END IF;

    -- Take.
    v_ids := '{}';
    v_ready := '{}';
    v_spoken := v_begun;
    v_got := 0;
    v_first := floor(random() * cardinality(v_routes))::int;
    v_left := cardinality(array_positions(v_open, true));
    FOR v_step IN 1 .. cardinality(v_routes) LOOP
      v_n := 1 + (v_first + v_step) % cardinality(v_routes);
      CONTINUE WHEN NOT v_open[v_n];
      v_limit := (v_size - v_got + v_left - 1) / v_left;
      v_left := v_left - 1;
      CONTINUE WHEN v_limit <= 0;
      v_open[v_n] := false;
      IF v_at[v_n] > 0 THEN
        v_limit := least(v_limit, v_rest[v_at[v_n]]);
        CONTINUE WHEN v_limit <= 0;  -- whoever leaves the queue says so
      END IF;
      FOR v_lane IN coalesce(v_from[v_n], v_n) .. coalesce(v_to[v_n], v_n) LOOP
        CONTINUE WHEN NOT v_lane_open[v_lane];
        IF v_limit <= 0 THEN
          v_open[v_n] := true;
          EXIT;
        END IF;
        -- What is left of the route's share is for this priority, in equal parts; what that leaves is for the next.
        v_part := v_limit;
        IF v_from[v_n] IS NOT NULL THEN
          v_part := cardinality(array_positions(v_lane_open[v_lane : v_group_end[v_lane]], true));
          v_part := (v_limit + v_part - 1) / v_part;
          IF v_at[v_n] > 0 THEN
            v_key := substr(v_lanes[v_lane], CASE WHEN v_lanes[v_lane] < 'r' THEN 2 ELSE 3 END);
            IF v_of_key[v_at[v_n]] IS NOT NULL AND v_key <> '' THEN
              v_part := least(v_part, v_of_key[v_at[v_n]] - (SELECT count(*)::int
                                                               FROM slots s
                                                              WHERE s.queue = v_queues[v_at[v_n]]
                                                                AND s.key = v_key));
            END IF;
            IF v_lanes[v_lane] > 'r' AND v_begins[v_at[v_n]] IS NOT NULL THEN
              v_part := least(v_part, v_begins[v_at[v_n]] - v_spoken[v_at[v_n]]);
            END IF;
            IF v_part <= 0 THEN
              v_lane_open[v_lane] := false;
              CONTINUE;
            END IF;
          END IF;
        END IF;
        WITH taken AS (
          DELETE FROM pokes
           WHERE ctid = ANY (ARRAY(SELECT p.ctid
                                     FROM pokes p
                                    WHERE p.route_id = v_routes[v_n]
                                      AND p.lane = v_lanes[v_lane]
                                      AND p.xid >= v_marks[v_n]
                                    ORDER BY p.xid, p.id
                                    LIMIT v_part
                                      FOR UPDATE SKIP LOCKED))
          RETURNING instance_id)
        SELECT array_agg(t.instance_id) INTO v_more FROM taken t;
        v_lane_open[v_lane] := coalesce(cardinality(v_more), 0) = v_part;
        v_open[v_n] := v_open[v_n] OR v_lane_open[v_lane];
        IF v_more IS NOT NULL THEN
          v_limit := v_limit - cardinality(v_more);
          IF v_at[v_n] > 0 THEN
            v_rest[v_at[v_n]] := v_rest[v_at[v_n]] - cardinality(v_more);
          END IF;
          v_got := v_got + cardinality(v_more);
          v_ids := v_ids || v_more;
          IF v_lanes[v_lane] > 'r' THEN
            v_ready := v_ready || v_more;
            IF v_at[v_n] > 0 THEN
              v_spoken[v_at[v_n]] := v_spoken[v_at[v_n]] + cardinality(v_more);
            END IF;
          END IF;
          IF v_from[v_n] IS NOT NULL THEN
            v_turns[v_n] := v_lanes[v_lane];
          END IF;
        END IF;
      END LOOP;
    END LOOP;
    EXIT WHEN v_got = 0;
    v_taken := v_taken + v_got;
    v_order := v_ids;
    v_ids := ARRAY(SELECT DISTINCT x FROM unnest(v_ids) x);

    -- Lock. No filter on owner or status: only under the lock are they known.
    SELECT array_agg(i.instance_id),
           array_agg(i.instance_id) FILTER (WHERE i.session_id IS NULL AND i.status IN (1, 6) AND i.route_id = ANY (v_routes)),
           array_agg(i.instance_id) FILTER (WHERE i.session_id IS NULL AND i.status IN (1, 6) AND i.route_id <> ALL (v_routes)),
           array_agg(i.instance_id) FILTER (WHERE i.status IN (2, 3, 4)),
           array_agg(i.instance_id) FILTER (WHERE i.session_id IS NOT NULL)
      INTO v_locked, v_look, v_elsewhere, v_finished, v_leased
      FROM (SELECT l.instance_id, l.session_id, l.status, l.route_id
              FROM instances l
             WHERE l.instance_id = ANY (v_ids)
             ORDER BY l.instance_id
               FOR NO KEY UPDATE SKIP LOCKED) i;

    IF cardinality(v_ids) > coalesce(cardinality(v_locked), 0) THEN
      v_ids := ARRAY(SELECT unnest(v_ids) EXCEPT SELECT unnest(v_locked));
      v_more := ARRAY(SELECT i.instance_id FROM instances i WHERE i.instance_id = ANY (v_ids));
      v_skipped := v_skipped || v_more;
      -- Without an instance (retention was here) nobody will ever read these.
      IF cardinality(v_more) < cardinality(v_ids) THEN
        PERFORM clear_inbox(ARRAY(SELECT unnest(v_ids) EXCEPT SELECT unnest(v_more)), true);
      END IF;
    END IF;
    v_moved := v_moved || v_elsewhere;
    IF v_finished IS NOT NULL THEN
      PERFORM clear_inbox(v_finished);
    END IF;
    -- Leased or stuck: nothing. The holder, or who un-parks it, will look. But the holder's next commit may be a long
    -- activity away, and the hint of what came in went to whom the hub chose, which is perhaps us and not the holder.
    IF v_leased IS NOT NULL THEN
      PERFORM hint_leased(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
         FROM instances i
        WHERE i.instance_id = ANY (v_leased)
          AND (SELECT true FROM inbox b WHERE b.instance_id = i.instance_id AND NOT b.seen AND b.kind <> 7 LIMIT 1);
    END IF;

    -- More free ones than wanted: only after a fruitless pass, which makes the next one larger.
    IF cardinality(v_look) > v_want - v_runs THEN
      v_look := ARRAY(SELECT x FROM unnest(v_look) x ORDER BY array_position(v_order, x));
      v_surplus := v_surplus || v_look[v_want - v_runs + 1 :];
      v_look := v_look[: v_want - v_runs];
    END IF;

    SELECT array_agg(x)
      INTO v_suspects
      FROM unnest(v_look) x
     WHERE (SELECT count(*)
              FROM inbox b
             WHERE b.instance_id = x AND NOT b.seen AND b.kind = 7 AND b.data -> 'crash' = 'true') >= c_suspected;
    IF v_suspects IS NOT NULL AND v_runs = 0 THEN
      v_alone := true;
      v_surplus := v_surplus || array_remove(v_look, v_suspects[1]);
      v_look := v_suspects[: 1];
    ELSIF v_suspects IS NOT NULL THEN
      v_surplus := v_surplus || v_suspects;
      v_look := ARRAY(SELECT unnest(v_look) EXCEPT SELECT unnest(v_suspects));
    END IF;

    -- Of those that would begin more than the rate allows go and stand in its lanes, behind those that stand there already.
    IF v_begins <> '{}' AND v_look IS NOT NULL THEN
      SELECT array_agg(y.id) FILTER (WHERE y.fits IS NOT false),
             array_agg(y.id ORDER BY y.n) FILTER (WHERE y.fits IS false),
             array_agg(y.at) FILTER (WHERE y.fits)
        INTO v_look, v_more, v_starting
        FROM (SELECT x.id, x.at, x.n,
                     CASE WHEN x.begins THEN
                       (x.ready OR NOT v_wait[x.at])
                       AND row_number() OVER (PARTITION BY x.at, x.begins ORDER BY x.ready DESC, x.n) <= v_begins[x.at] - v_begun[x.at]
                     END AS fits
                FROM (SELECT l.id, i.at, l.id = ANY (v_ready) AS ready, array_position(v_order, l.id) AS n,
                             i.generation = i.first_generation AND v_begins[i.at] IS NOT NULL
                             AND coalesce((SELECT true FROM inbox b
                                            WHERE b.instance_id = l.id AND NOT b.seen AND b.kind = 1
                                            LIMIT 1), false) AS begins
                        FROM unnest(v_look) l (id)
                       CROSS JOIN LATERAL (SELECT v_at[array_position(v_routes, r.route_id)] AS at, r.generation, r.first_generation
                                             FROM instances r
                                            WHERE r.instance_id = l.id
                                           OFFSET 0) i
                      OFFSET 0) x
              OFFSET 0) y;
      v_standing := v_standing || v_more;
      FOREACH v_n IN ARRAY coalesce(v_starting, '{}') LOOP
        v_begun[v_n] := v_begun[v_n] + 1;
      END LOOP;
      IF v_more IS NOT NULL THEN  -- whose turn it is among them a later claim says
        FOR v_n IN SELECT DISTINCT v_at[array_position(v_routes, i.route_id)] FROM instances i WHERE i.instance_id = ANY (v_more) LOOP
          v_wait[v_n] := true;
        END LOOP;
      END IF;
    END IF;

    -- What counts is the queue and the key under the lock; more than there is room for are put back.
    IF v_at IS NOT NULL AND v_look IS NOT NULL THEN
      SELECT array_agg(y.id) FILTER (WHERE y.fits), array_agg(y.id) FILTER (WHERE NOT y.fits)
        INTO v_look, v_more
        FROM (SELECT x.id,
                     CASE
                       WHEN x.at = 0 THEN true
                       WHEN x.at < 0 THEN false
                       ELSE row_number() OVER (PARTITION BY x.at ORDER BY x.n) <= v_free[x.at]
                            AND (x.key = '' OR v_of_key[x.at] IS NULL
                                 OR row_number() OVER (PARTITION BY x.at, x.key ORDER BY x.n) <=
                                    v_of_key[x.at] - (SELECT count(*)
                                                        FROM slots s
                                                       WHERE s.queue = v_queues[x.at]
                                                         AND s.key = x.key))
                     END AS fits
                FROM (SELECT l.id, i.key, v_at[array_position(v_routes, i.route_id)] AS at,
                             array_position(v_order, l.id) AS n
                        FROM unnest(v_look) l (id)
                       CROSS JOIN LATERAL (SELECT r.route_id, substr(r.lane, 2) AS key
                                             FROM instances r
                                            WHERE r.instance_id = l.id
                                           OFFSET 0) i
                      OFFSET 0) x
              OFFSET 0) y;
      v_skipped := v_skipped || v_more;  -- it is rare, and all that is asked of the caller is to come back
    END IF;

    IF v_matched <> '{}' THEN
      v_matched := ARRAY(SELECT unnest(v_matched) EXCEPT SELECT unnest(v_look || v_leased));
    END IF;

    -- Look, in a snapshot younger than the locks; lease what has something to read; note it in the journal.
    IF v_look IS NOT NULL THEN
      RETURN QUERY
      WITH leased AS (
        UPDATE instances i
           SET session_id = v_session, lease_token = i.lease_token + 1
         WHERE i.instance_id = ANY (v_look)
           AND (SELECT true FROM inbox b WHERE b.instance_id = i.instance_id AND NOT b.seen LIMIT 1)
        RETURNING i.instance_id, i.route_id, i.lane, i.lease_token, i.generation, i.status, i.created_at, i.first_generation,
                  i.last_session IS NOT DISTINCT FROM v_session AS fresh),
      journal AS (
        INSERT INTO claims (session_id, ids)
        SELECT v_session, array_agg(l.instance_id) FROM leased l HAVING count(*) > 0),
      occupied AS (
        INSERT INTO slots (queue, key, instance_id, session_id, lease_token)
        SELECT v_queues[v_at[array_position(v_routes, l.route_id)]], substr(l.lane, 2), l.instance_id, v_session, l.lease_token
          FROM leased l
         WHERE v_queues <> '{}'
           AND v_at[array_position(v_routes, l.route_id)] > 0)
      SELECT l.instance_id,
             (SELECT r.workflow_name FROM routes r WHERE r.route_id = l.route_id LIMIT 1),
             l.lease_token,
             l.generation,
             l.status,
             l.fresh,
             (SELECT count(*)::int
                FROM inbox b
               WHERE b.instance_id = l.instance_id AND NOT b.seen AND b.kind = 7 AND b.data -> 'crash' = 'true'),
             coalesce((SELECT true FROM inbox b WHERE b.instance_id = l.instance_id AND b.seen LIMIT 1), false),
             -- unseen_inbox() and read_history(), spelled out: a call a run costs more than the rows it reads.
             (SELECT jsonb_agg(jsonb_build_array(b.id, b.kind, b.op, b.name, b.data, b.metadata, b.message_id)
                               ORDER BY b.id)
                FROM (SELECT u.*
                        FROM inbox u
                       WHERE u.instance_id = l.instance_id
                         AND NOT u.seen
                       ORDER BY u.id
                       LIMIT v_inbox_limit) b),
             CASE WHEN NOT l.fresh THEN
               coalesce((SELECT jsonb_agg(jsonb_build_array(h.seq, h.op, h.kind, h.name, h.data) ORDER BY h.seq)
                           FROM history h
                          WHERE h.instance_id = l.instance_id), '[]')
             END,
             unix_micros(clock_timestamp()),
             unix_micros(l.created_at),
             l.first_generation
        FROM leased l
       ORDER BY left(l.lane, 1);
      GET DIAGNOSTICS v_got = ROW_COUNT;
      IF v_alone THEN  -- free_session wants to know which one was begun last
        UPDATE inbox b
           SET data = b.data || jsonb_build_object('alone', unix_micros(clock_timestamp()))
         WHERE b.instance_id = v_look[1] AND NOT b.seen AND b.kind = 7;
      END IF;
    ELSE
      v_got := 0;
    END IF;
    v_runs := v_runs + v_got;
    v_size := least(CASE WHEN v_got = 0 THEN v_size * 4 ELSE v_want - v_runs END, c_most_at_once);
  END LOOP;

  -- Who skips comes back. At the end, so that this call does not take them again.
  INSERT INTO pokes (route_id, lane, instance_id)
  SELECT i.route_id, i.lane, i.instance_id
    FROM instances i
   WHERE i.instance_id = ANY (v_skipped || v_surplus);
  IF v_standing <> '{}' THEN
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT i.route_id, 'r' || i.lane, i.instance_id
      FROM unnest(v_standing) WITH ORDINALITY x (id, n)
     CROSS JOIN LATERAL (SELECT s.route_id, s.lane, s.instance_id FROM instances s WHERE s.instance_id = x.id OFFSET 0) i
     ORDER BY x.n;
  END IF;
  FOR v_n IN 1 .. cardinality(v_begins) LOOP
    IF v_begins[v_n] IS NOT NULL THEN
      v_next_us := spend_begins(v_queues[v_n], v_begun[v_n]);
      IF v_wait[v_n] AND v_begun[v_n] >= v_begins[v_n] THEN
        v_again_us := least(v_again_us, v_next_us);
      END IF;
    END IF;
  END LOOP;
  IF v_moved <> '{}' THEN
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT i.route_id, i.lane, i.instance_id
      FROM instances i
     WHERE i.instance_id = ANY (v_moved);
  END IF;

  IF v_alone THEN
    v_matched := coalesce(v_matched, '{}') || v_surplus;
  END IF;
  v_matched := coalesce(v_matched, '{}') || v_moved;
  IF v_matched <> '{}' THEN
    PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
       FROM instances i
      WHERE i.instance_id = ANY (v_matched);
  END IF;

  v_more := v_marks::text[];
  IF v_turns IS NOT NULL THEN
    FOR v_n IN 1 .. cardinality(v_more) LOOP
      v_more[v_n] := v_more[v_n] || coalesce('/' || v_turns[v_n], '');
    END LOOP;
  END IF;
  RETURN QUERY
  SELECT NULL::text, NULL::text, NULL::bigint, NULL::int, NULL::smallint, NULL::boolean, NULL::int, NULL::boolean,
         jsonb_build_object(
           'over', v_over,
           'taken', v_taken,
           'again_us', v_again_us,
           'skipped', cardinality(v_skipped) + v_skipped_channels + v_skipped_queues,
           'marks', to_jsonb(coalesce(v_more, '{}')),
           'more', NOT v_over AND (coalesce(true = ANY (v_open), false) OR v_more_channels OR v_more_lanes
                                   OR v_surplus <> '{}')),
         NULL::jsonb, unix_micros(clock_timestamp()), NULL::bigint, NULL::int;
END
$$;
