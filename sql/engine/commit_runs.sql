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
--      it before unpark(), which looks for it.
-- t_after_us or t_at: a timer due so long after this commit, or at that moment. Of a subscription changed twice the
-- last word counts. Messages to finished or unknown targets are dropped: the workflow cannot know better.
--
-- The shape of every statement is pinned: plans are kept for the life of a connection, and may have been made while the
-- tables were empty. So a table is never joined: it is looked up in a LATERAL .. OFFSET 0 or a scalar subquery, once
-- for each row of the batch, and rows are then found by ctid (they are the run's own: nobody moves them).
--
-- Callers: resumer; activity threads for one run. Commit: synchronous, always (promise 5).
-- Index: primary keys only. Locks: instances in id order, waiting; then rows only the holder changes, and deadlines (a
-- timer that fires holds those for a moment, and never waits).
CREATE OR REPLACE FUNCTION commit_runs(
  session_id bigint, ids text[], tokens bigint[], statuses smallint[], releases boolean[], notes text[],
  h_run int[], h_seq bigint[], h_op int[], h_kind smallint[], h_name text[], h_data text[],
  consumed_run int[], consumed_id bigint[],
  seen_run int[], seen_id bigint[],
  t_run int[], t_op int[], t_kind smallint[], t_after_us bigint[], t_at text[],
  over_run int[], over_op int[],
  sub_run int[], sub_channel text[], sub_on boolean[],
  m_run int[], m_channel text[], m_data text[], m_metadata text[], m_target text[],
  o_run int[], o_event_id text[], o_type text[], o_source text[], o_data text[], o_content_type text[],
  inbox_limit int)
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
  v_message record;
  v_hints bigint;     -- counted for nobody: a way to send them
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
      DELETE FROM subscriptions
       WHERE ctid = ANY (ARRAY(SELECT s.ctid
                                 FROM unnest(sub_run, sub_channel) x (run, channel)
                                CROSS JOIN LATERAL (SELECT u.ctid
                                                      FROM subscriptions u
                                                     WHERE u.channel = x.channel
                                                       AND u.instance_id = ids[x.run]
                                                    OFFSET 0) s
                                WHERE v_acc[x.run]));
      INSERT INTO subscriptions (channel, instance_id)
      SELECT last.channel, ids[last.run]
        FROM (SELECT DISTINCT ON (x.run, x.channel) x.run, x.channel, x.wanted
                FROM unnest(sub_run, sub_channel, sub_on) WITH ORDINALITY x (run, channel, wanted, n)
               ORDER BY x.run, x.channel, x.n DESC) last
       WHERE v_acc[last.run]
         AND last.wanted;
    END IF;

    IF cardinality(m_run) > 0 THEN
      FOR v_message IN
        SELECT x.channel, x.data, x.metadata, x.target
          FROM unnest(m_run, m_channel, m_data, m_metadata, m_target) WITH ORDINALITY
                 x (run, channel, data, metadata, target, n)
         WHERE v_acc[x.run]
         ORDER BY x.n
      LOOP
        PERFORM send_message(v_message.channel, v_message.data::jsonb, v_message.metadata::jsonb, v_message.target);
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

    SELECT array_agg(ids[n] ORDER BY ids[n]) FILTER (WHERE statuses[n] IN (2, 3, 4)),
           array_agg(ids[n] ORDER BY ids[n]) FILTER (WHERE statuses[n] = 5)
      INTO v_ended, v_parked
      FROM unnest(v_held) n;
    IF v_ended IS NOT NULL THEN
      DELETE FROM inbox WHERE instance_id = ANY (v_ended);
      DELETE FROM deadlines WHERE instance_id = ANY (v_ended);
      DELETE FROM subscriptions WHERE instance_id = ANY (v_ended);
    END IF;
    IF v_parked IS NOT NULL THEN
      INSERT INTO stuck (instance_id, route_id)
      SELECT i.instance_id, i.route_id FROM instances i WHERE i.instance_id = ANY (v_parked);
    END IF;
  END IF;

  -- 3. Look and let go.
  RETURN QUERY
  WITH done AS (
    UPDATE instances i
       SET status = x.status,
           note = x.note,
           session_id = CASE
             WHEN x.status IN (2, 3, 4, 5) THEN NULL
             WHEN NOT x.release THEN v_session
             WHEN (SELECT true FROM inbox b WHERE b.instance_id = x.id AND NOT b.seen LIMIT 1) THEN v_session
           END,
           last_session = v_session,
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
END
$$;
