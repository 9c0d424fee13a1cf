-- commit_runs: all that a batch of runs did, in one transaction: history, what they consumed, what they wait for, what
-- they sent, and whether they let go.
--
-- Rows of all runs travel in flat arrays; x_run is the position (from 1) of their run in ids. A run whose pair
-- (session, token) does not hold any more changes nothing and costs its neighbours nothing. The accepted positions
-- become one boolean[]: joining every table to the accepted set instead is planned as nested loops, quadratic in the
-- batch.
--
-- Three steps, each a later statement than the one before:
--   1. lock and fence, in id order (unordered batches deadlock);
--   2. write;
--   3. look and let go: a release that finds unread rows keeps the lease and brings them (holes H2, H4). With
--      release = false the lease stays and unread rows come too. A final status lets go without looking: later
--      arrivals bring a poke, and the claim that takes it clears them. Stuck (5) parks without looking: nobody claims
--      it before unpark(), which looks for it; and no matcher gives it anything meanwhile. Status 7 continues as new, and lets go without looking too, because it
--      appended: the history goes to the archive, what belonged to its operations (timers, waits, and what came of
--      them) goes away, and a start row with the next input comes. Messages, subscriptions and groups stay.
-- version: that of the session. The first commit that records something pins the instance to it: version and route
-- change together, under the lock, and a poke that was written for the route before is found by whoever serves that one
-- (claim_runs), or by forward_pokes. Continuing as new lifts the pin; what is parked has begun nothing, and is not pinned.
-- t_after_us or t_at: a timer due so long after this commit, or at that moment. Of a subscription or a membership
-- changed twice the last word counts. Messages to finished or unknown targets are dropped: the workflow cannot know
-- better. back: messages of competing channels that nobody here waits for, for another receiver. A wait for such a
-- channel is registered only while the instance subscribes to it, and brings the channel's poke. p_value: the status value
-- that others may read, at most one a run.
--
-- A matcher may give a run a message at any time while its wait is registered. So whoever ends waits deletes them first,
-- which waits for a matcher under way, and reads the inbox in a later statement.
--
-- The shape of every statement is pinned: plans are kept for the life of a connection, and may have been made while the
-- tables were empty. So a table is never joined: it is looked up in a LATERAL .. OFFSET 0 or a scalar subquery, once
-- for each row of the batch, and rows are then found by ctid (they are the run's own: nobody moves them).
--
-- Callers: resumer; activity threads for one run. Commit: synchronous, always (promise 5).
-- Index: primary keys, and those by instance_id. Locks: instances in id order, waiting; then rows only the holder
-- changes, deadlines and waits (a timer that fires and a matcher hold those for a moment, and never wait), channels
-- (change_subscriptions), ids of new instances, children (end_children), tasks (skip locked).
CREATE OR REPLACE FUNCTION commit_runs(
  session_id bigint, ids text[], tokens bigint[], statuses smallint[], releases boolean[], notes text[],
  h_run int[], h_seq bigint[], h_op int[], h_kind smallint[], h_name text[], h_data text[],
  consumed_run int[], consumed_id bigint[],
  seen_run int[], seen_id bigint[],
  back_run int[], back_id bigint[],
  t_run int[], t_op int[], t_kind smallint[], t_after_us bigint[], t_at text[],
  over_run int[], over_op int[],
  w_run int[], w_op int[], w_channel text[],
  sub_run int[], sub_op int[], sub_channel text[], sub_on boolean[], sub_mode smallint[],
  g_run int[], g_group text[], g_on boolean[],
  m_run int[], m_channel text[], m_data text[], m_metadata text[], m_target text[], m_group text[],
  o_run int[], o_event_id text[], o_type text[], o_source text[], o_data text[], o_content_type text[],
  c_run int[], c_op int[], c_id text[], c_workflow text[], c_queue text[], c_input text[], c_follows boolean[], c_lane text[],
  cancel_run int[], cancel_id text[], cancel_reason text[],
  p_run int[], p_value text[],
  q_run int[], q_op int[], q_activity text[], q_queue text[], q_input text[], q_key text[], q_policy text[],
  stop_run int[], stop_op int[], stop_wanted boolean[],
  inbox_limit int, version text DEFAULT NULL)
RETURNS TABLE (run int, accepted boolean, released boolean, inbox jsonb, clock_us bigint)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_session ALIAS FOR $1;
  v_held int[];       -- positions whose fence holds
  v_acc boolean[];    -- the same, by position
  v_pos int;
  v_ended text[];     -- accepted, with a final status
  v_parked text[];    -- accepted, stuck
  v_recurred text[];  -- accepted, continuing as new
  v_message record;
  v_hints bigint;     -- counted for nobody: a way to send them
  v_version ALIAS FOR $73;
  v_told int[];       -- positions that record something: an instance of these that is not pinned is pinned
BEGIN
  PERFORM need_read_committed('commit_runs');
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  -- 1. Lock and fence.
  SELECT array_agg(l.pos)
    INTO v_held
    FROM (SELECT x.id, x.token, x.pos
            FROM unnest(ids, tokens) WITH ORDINALITY x (id, token, pos)
           ORDER BY x.id) l
   CROSS JOIN LATERAL (SELECT
                         FROM instances i
                        WHERE i.instance_id = l.id
                          AND i.session_id = v_session
                          AND i.lease_token = l.token
                          FOR NO KEY UPDATE) held;
  v_acc := array_fill(false, ARRAY[cardinality(ids)]);
  FOREACH v_pos IN ARRAY coalesce(v_held, '{}') LOOP
    v_acc[v_pos] := true;
  END LOOP;

  IF v_held IS NOT NULL THEN
    -- 2. Write.
    INSERT INTO history (instance_id, seq, op, kind, name, data)
    SELECT ids[x.run], x.seq, x.op, x.kind, x.name, x.data::jsonb
      FROM unnest(h_run, h_seq, h_op, h_kind, h_name, h_data) x (run, seq, op, kind, name, data)
     WHERE v_acc[x.run];

    IF cardinality(consumed_run) > 0 THEN
      DELETE FROM inbox
       WHERE ctid = ANY (ARRAY(SELECT b.ctid
                                 FROM unnest(consumed_run, consumed_id) x (run, id)
                                CROSS JOIN LATERAL (SELECT i.ctid
                                                      FROM inbox i
                                                     WHERE i.instance_id = ids[x.run]
                                                       AND i.seen IN (false, true)
                                                       AND i.id = x.id
                                                    OFFSET 0) b
                                WHERE v_acc[x.run]));
    END IF;
    IF cardinality(seen_run) > 0 THEN
      UPDATE inbox
         SET seen = true
       WHERE ctid = ANY (ARRAY(SELECT b.ctid
                                 FROM unnest(seen_run, seen_id) x (run, id)
                                CROSS JOIN LATERAL (SELECT i.ctid
                                                      FROM inbox i
                                                     WHERE i.instance_id = ids[x.run]
                                                       AND NOT i.seen
                                                       AND i.id = x.id
                                                    OFFSET 0) b
                                WHERE v_acc[x.run]));
    END IF;

    IF cardinality(back_run) > 0 THEN
      WITH gone AS (
        DELETE FROM inbox
         WHERE ctid = ANY (ARRAY(SELECT b.ctid
                                   FROM unnest(back_run, back_id) x (run, id)
                                  CROSS JOIN LATERAL (SELECT i.ctid
                                                        FROM inbox i
                                                       WHERE i.instance_id = ids[x.run]
                                                         AND i.seen IN (false, true)
                                                         AND i.id = x.id
                                                         AND i.kind = 2
                                                         AND i.op <> 0
                                                      OFFSET 0) b
                                  WHERE v_acc[x.run]))
        RETURNING name, message_id, data, metadata, created_at),
      back AS (
        INSERT INTO channel_queue (channel, message_id, data, metadata, created_at)
        SELECT g.name, g.message_id, g.data, g.metadata, g.created_at
          FROM gone g
        RETURNING channel)
      INSERT INTO pokes (route_id, lane, instance_id)
      SELECT DISTINCT 0, '5', b.channel
        FROM back b;
    END IF;

    -- Over before new: an activity's retry may be over and wait again in one commit.
    IF cardinality(over_run) > 0 THEN
      DELETE FROM deadlines
       WHERE ctid = ANY (ARRAY(SELECT d.ctid
                                 FROM unnest(over_run, over_op) x (run, op)
                                CROSS JOIN LATERAL (SELECT t.ctid
                                                      FROM deadlines t
                                                     WHERE t.instance_id = ids[x.run]
                                                       AND t.op = x.op
                                                    OFFSET 0) d
                                WHERE v_acc[x.run]));
      DELETE FROM channel_waits
       WHERE ctid = ANY (ARRAY(SELECT w.ctid
                                 FROM unnest(over_run, over_op) x (run, op)
                                CROSS JOIN LATERAL (SELECT t.ctid
                                                      FROM channel_waits t
                                                     WHERE t.instance_id = ids[x.run]
                                                       AND t.op = x.op
                                                    OFFSET 0) w
                                WHERE v_acc[x.run]));
    END IF;
    IF cardinality(t_run) > 0 THEN
      WITH timed AS (
        INSERT INTO deadlines AS d (instance_id, op, kind, expires_at)
        SELECT ids[x.run], x.op, x.kind,
               coalesce(clock_timestamp() + x.after_us * interval '1 microsecond', x.at::timestamptz)
          FROM unnest(t_run, t_op, t_kind, t_after_us, t_at) x (run, op, kind, after_us, at)
         WHERE v_acc[x.run]
        ON CONFLICT ON CONSTRAINT deadlines_pkey DO UPDATE SET kind = excluded.kind, expires_at = excluded.expires_at
        RETURNING d.*)
      SELECT count(hint_timer(t.instance_id, t.kind, t.op, t.expires_at)) INTO v_hints FROM timed t;
    END IF;

    IF cardinality(sub_run) > 0 THEN
      PERFORM change_subscriptions(ids, v_acc, sub_run, sub_op, sub_channel, sub_on, sub_mode);
    END IF;
    IF cardinality(w_run) > 0 THEN
      WITH waiting AS (
        INSERT INTO channel_waits (instance_id, op, channel)
        SELECT ids[x.run], x.op, x.channel
          FROM unnest(w_run, w_op, w_channel) WITH ORDINALITY x (run, op, channel, n)
         WHERE v_acc[x.run]
           AND (SELECT true FROM subscriptions s WHERE s.channel = x.channel AND s.instance_id = ids[x.run])
           AND (SELECT true FROM competing_channels c WHERE c.channel = x.channel LIMIT 1)
         ORDER BY x.n
        RETURNING channel)
      INSERT INTO pokes (route_id, lane, instance_id)
      SELECT DISTINCT 0, '5', w.channel
        FROM waiting w;
    END IF;

    IF cardinality(g_run) > 0 THEN
      DELETE FROM group_members
       WHERE ctid = ANY (ARRAY(SELECT m.ctid
                                 FROM unnest(g_run, g_group) x (run, group_name)
                                CROSS JOIN LATERAL (SELECT u.ctid
                                                      FROM group_members u
                                                     WHERE u.group_name = x.group_name
                                                       AND u.instance_id = ids[x.run]
                                                    OFFSET 0) m
                                WHERE v_acc[x.run]));
      INSERT INTO group_members (group_name, instance_id)
      SELECT last.group_name, ids[last.run]
        FROM (SELECT DISTINCT ON (x.run, x.group_name) x.run, x.group_name, x.wanted
                FROM unnest(g_run, g_group, g_on) WITH ORDINALITY x (run, group_name, wanted, n)
               ORDER BY x.run, x.group_name, x.n DESC) last
       WHERE v_acc[last.run]
         AND last.wanted;
    END IF;

    -- Before what may be for them: messages, and cancellations.
    IF cardinality(c_run) > 0 THEN
      PERFORM start_children(ids, v_acc, c_run, c_op, c_id, c_workflow, c_queue, c_input, c_follows, c_lane);
    END IF;
    IF cardinality(m_run) > 0 THEN
      FOR v_message IN
        SELECT x.channel, x.data, x.metadata, x.target, x.group_name
          FROM unnest(m_run, m_channel, m_data, m_metadata, m_target, m_group) WITH ORDINALITY
                 x (run, channel, data, metadata, target, group_name, n)
         WHERE v_acc[x.run]
         ORDER BY x.n
      LOOP
        PERFORM send_message(v_message.channel, v_message.data::jsonb, v_message.metadata::jsonb, v_message.target,
                             v_message.group_name);
      END LOOP;
    END IF;

    IF cardinality(o_run) > 0 THEN
      INSERT INTO outbox (event_id, event_type, event_source, data, content_type)
      SELECT x.event_id, x.type, x.source, x.data::jsonb, x.content_type
        FROM unnest(o_run, o_event_id, o_type, o_source, o_data, o_content_type) WITH ORDINALITY
               x (run, event_id, type, source, data, content_type, n)
       WHERE v_acc[x.run]
       ORDER BY x.n
      ON CONFLICT ON CONSTRAINT outbox_pkey DO NOTHING;
      PERFORM hint('outbox_pending', jsonb_build_object('event_id', x.event_id))
         FROM unnest(o_run, o_event_id) x (run, event_id)
        WHERE v_acc[x.run];
    END IF;

    IF cardinality(cancel_run) > 0 THEN
      PERFORM send_cancels(array_agg(x.id ORDER BY x.n), array_agg(x.reason ORDER BY x.n))
         FROM unnest(cancel_run, cancel_id, cancel_reason) WITH ORDINALITY x (run, id, reason, n)
        WHERE v_acc[x.run];
    END IF;

    IF cardinality(p_run) > 0 THEN
      INSERT INTO progress (instance_id, value)
      SELECT ids[x.run], x.value::jsonb
        FROM unnest(p_run, p_value) x (run, value)
       WHERE v_acc[x.run]
      ON CONFLICT ON CONSTRAINT progress_pkey DO UPDATE SET value = excluded.value, updated_at = clock_timestamp();
    END IF;
    -- A task may be added and taken back in one commit.
    IF cardinality(q_run) > 0 THEN
      PERFORM add_tasks(ids, v_acc, q_run, q_op, q_activity, q_queue, q_input, q_key, q_policy);
    END IF;
    IF cardinality(stop_run) > 0 THEN
      PERFORM stop_tasks(ids, v_acc, stop_run, stop_op, stop_wanted);
      PERFORM stop_children(ids, v_acc, stop_run, stop_op);
    END IF;

    SELECT array_agg(ids[n] ORDER BY ids[n]) FILTER (WHERE statuses[n] IN (2, 3, 4)),
           array_agg(ids[n] ORDER BY ids[n]) FILTER (WHERE statuses[n] = 5),
           array_agg(ids[n] ORDER BY ids[n]) FILTER (WHERE statuses[n] = 7)
      INTO v_ended, v_parked, v_recurred
      FROM unnest(v_held) n;
    IF v_ended IS NOT NULL OR v_recurred IS NOT NULL THEN
      PERFORM end_children(coalesce(v_ended, '{}'), coalesce(v_recurred, '{}'));
      PERFORM end_tasks(coalesce(v_ended, '{}') || coalesce(v_recurred, '{}'));
    END IF;
    IF v_ended IS NOT NULL THEN
      PERFORM wake_schedules(v_ended);
      DELETE FROM channel_waits WHERE instance_id = ANY (v_ended);
      PERFORM clear_inbox(v_ended);
      DELETE FROM deadlines WHERE instance_id = ANY (v_ended);
      DELETE FROM subscriptions WHERE instance_id = ANY (v_ended);
      DELETE FROM group_members WHERE instance_id = ANY (v_ended);
      -- Later than the lock: who entered a wait before it is seen, who enters one later waits for this commit.
      WITH gone AS (
        DELETE FROM result_waits WHERE instance_id = ANY (v_ended)
        RETURNING instance_id)
      SELECT count(hint('workflow_finished', jsonb_build_object('instance_id', g.instance_id))) INTO v_hints FROM gone g;
    END IF;
    IF v_recurred IS NOT NULL THEN
      PERFORM archive_history(v_recurred);
      -- These wait for a timer that fires and for a matcher; what they put into the inbox the next statement sees.
      DELETE FROM deadlines WHERE instance_id = ANY (v_recurred);
      DELETE FROM channel_waits WHERE instance_id = ANY (v_recurred);
      DELETE FROM inbox WHERE instance_id = ANY (v_recurred) AND seen IN (false, true) AND kind IN (3, 4, 5, 8, 9, 11, 12);
      INSERT INTO inbox (instance_id, kind, op, data)
      SELECT ids[x.run], 1, (SELECT i.generation + 1 FROM instances i WHERE i.instance_id = ids[x.run]), x.data::jsonb
        FROM unnest(h_run, h_kind, h_data) x (run, kind, data)
       WHERE v_acc[x.run]
         AND x.kind = 19
         AND statuses[x.run] = 7;
      INSERT INTO pokes (route_id, lane, instance_id)
      SELECT CASE WHEN i.version IS NULL THEN i.route_id
                  ELSE (SELECT route_id(r.queue, r.workflow_name) FROM routes r WHERE r.route_id = i.route_id LIMIT 1)
             END,
             i.lane,
             i.instance_id
        FROM instances i
       WHERE i.instance_id = ANY (v_recurred);
      PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
         FROM instances i
        WHERE i.instance_id = ANY (v_recurred);
    END IF;
    IF v_parked IS NOT NULL THEN
      INSERT INTO stuck (instance_id, route_id)
      SELECT i.instance_id, i.route_id FROM instances i WHERE i.instance_id = ANY (v_parked);
      UPDATE channel_waits SET parked = true WHERE instance_id = ANY (v_parked);
      -- Where code and history differ the messages are not to blame. Where workers died, or could not read, one may be,
      -- and stays: it would do the same to every other receiver.
      PERFORM return_matched(ARRAY(SELECT x.id
                                     FROM unnest(ids, notes) x (id, note)
                                    WHERE x.id = ANY (v_parked)
                                      AND x.note LIKE 'mismatch%'));
    END IF;
  END IF;

  IF v_version IS NOT NULL THEN
    v_told := ARRAY(SELECT DISTINCT x FROM unnest(h_run) x);
  END IF;

  -- 3. Look and let go.
  RETURN QUERY
  WITH done AS (
    UPDATE instances i
       SET status = CASE WHEN x.status = 7 THEN 1 ELSE x.status END,
           note = x.note,
           generation = i.generation + CASE WHEN x.status = 7 THEN 1 ELSE 0 END,
           session_id = CASE
             WHEN x.status IN (2, 3, 4, 5, 7) THEN NULL
             WHEN NOT x.release THEN v_session
             WHEN (SELECT true FROM inbox b WHERE b.instance_id = x.id AND NOT b.seen LIMIT 1) THEN v_session
           END,
           last_session = CASE WHEN x.status <> 7 THEN v_session END,  -- the next generation is in nobody's memory
           version = CASE
             WHEN x.status = 7 THEN NULL
             WHEN i.version IS NULL AND x.status <> 5 AND x.pos = ANY (v_told) THEN v_version
             ELSE i.version
           END,
           route_id = CASE
             WHEN x.status = 7 AND i.version IS NOT NULL THEN
               (SELECT route_id(r.queue, r.workflow_name) FROM routes r WHERE r.route_id = i.route_id LIMIT 1)
             WHEN i.version IS NULL AND x.status NOT IN (5, 7) AND x.pos = ANY (v_told) THEN
               (SELECT route_id(r.queue, r.workflow_name, v_version) FROM routes r WHERE r.route_id = i.route_id LIMIT 1)
             ELSE i.route_id
           END,
           finished_at = CASE WHEN x.status IN (2, 3, 4) THEN clock_timestamp() END
      FROM unnest(ids, statuses, releases, notes) WITH ORDINALITY x (id, status, release, note, pos)
     CROSS JOIN LATERAL (SELECT r.ctid AS row FROM instances r WHERE r.instance_id = x.id OFFSET 0) held
     WHERE v_acc[x.pos]
       AND i.ctid = held.row
    RETURNING x.pos, i.instance_id, i.session_id)
  SELECT d.pos::int,
         true,
         d.session_id IS NULL,
         CASE WHEN d.session_id IS NULL THEN '[]' ELSE unseen_inbox(d.instance_id, inbox_limit) END,
         unix_micros(clock_timestamp())
    FROM done d
   UNION ALL
  SELECT n, false, false, '[]', unix_micros(clock_timestamp())
    FROM generate_series(1, cardinality(ids)) n
   WHERE NOT v_acc[n]
   ORDER BY 1;
  IF v_held IS NOT NULL AND (SELECT true FROM queues q LIMIT 1) THEN
    PERFORM free_slots(ids);
  END IF;
END
$$;
