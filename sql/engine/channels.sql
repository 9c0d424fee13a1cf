-- channels: how messages of competing channels find the one who gets them.
--
-- A publisher and a receiver that each look for the other, side by side, both see nothing and both wait (hole H7). So
-- neither looks: both append a channel poke (route 0, the channel's name in place of an instance), and whoever claims
-- it locks the channel and then looks. The theorem of the pokes holds with the channel as the object: a queued message
-- and a wait of one channel imply a channel poke.

-- poke_channel: somebody has to look at this channel; and the hint for it. An instance that waits or subscribes is
-- named, when one can be seen, so that the hub wakes one member of each program and not all of them.
-- Callers: send_message, clear_inbox, return_matched, unpark. Index: channel_waits_queue, from its end, where an old snapshot
-- leaves no dead entries before the first living one; pk of subscriptions. Locks: none.
CREATE OR REPLACE FUNCTION poke_channel(channel text)
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_channel ALIAS FOR $1;
  v_id text;
BEGIN
  INSERT INTO pokes (route_id, lane, instance_id) VALUES (0, '5', v_channel);
  v_id := coalesce(
    (SELECT w.instance_id FROM channel_waits w WHERE w.channel = v_channel AND NOT w.parked ORDER BY w.id DESC LIMIT 1),
    (SELECT s.instance_id FROM subscriptions s WHERE s.channel = v_channel LIMIT 1));
  PERFORM hint('workflow_resumable', jsonb_strip_nulls(jsonb_build_object(
            'instance_id', v_id, 'channel_name', v_channel)));
END
$$;

-- clear_inbox: nobody will read these instances' inboxes any more. Messages of competing channels are for another
-- receiver: they go back to their queue, where their ids put them before later ones.
-- orphans: only of those that do not exist. That is looked for in the statement that deletes: an id that was removed may
-- be started again at any moment, and in a later snapshot the rows would be those of the new instance.
-- Callers: commit_runs (in a later statement than it deleted their waits: so a matcher under way is over), claim_runs,
-- remove_instances. Index: inbox_pkey, pk of instances. Locks: rows nobody else changes.
CREATE OR REPLACE FUNCTION clear_inbox(ids text[], orphans boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_channels text[];
BEGIN
  WITH gone AS (
    DELETE FROM inbox b
     WHERE b.instance_id = ANY ($1)
       AND (NOT $2 OR (SELECT true FROM instances i WHERE i.instance_id = b.instance_id) IS NULL)
    RETURNING kind, op, name, message_id, data, metadata, created_at),
  back AS (
    INSERT INTO channel_queue (channel, message_id, data, metadata, created_at)
    SELECT g.name, g.message_id, g.data, g.metadata, g.created_at
      FROM gone g
     WHERE g.kind = 2
       AND g.op <> 0
    RETURNING channel)
  SELECT array_agg(DISTINCT b.channel) INTO v_channels FROM back b;
  PERFORM poke_channel(x) FROM unnest(v_channels) x;
END
$$;

-- return_matched: these instances are parked with messages of competing channels that they have not read. Those go back
-- to their queue, for another receiver, and the waits they were matched to come back, parked: the runs know that they
-- wait, and will not say so again.
-- Callers: commit_runs (in a later statement than it parked their waits: so a matcher under way is over).
-- Index: inbox_pkey, pk of subscriptions. Locks: rows nobody else changes.
CREATE OR REPLACE FUNCTION return_matched(ids text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_channels text[];
BEGIN
  WITH gone AS (
    DELETE FROM inbox
     WHERE instance_id = ANY ($1)
       AND NOT seen
       AND kind = 2
       AND op <> 0
    RETURNING instance_id, op, name, message_id, data, metadata, created_at),
  waiting AS (
    INSERT INTO channel_waits (instance_id, op, channel, parked)
    SELECT g.instance_id, g.op, g.name, true
      FROM gone g
     WHERE (SELECT true FROM subscriptions s WHERE s.channel = g.name AND s.instance_id = g.instance_id)
     ORDER BY g.message_id
    ON CONFLICT ON CONSTRAINT channel_waits_pkey DO NOTHING),
  back AS (
    INSERT INTO channel_queue (channel, message_id, data, metadata, created_at)
    SELECT g.name, g.message_id, g.data, g.metadata, g.created_at
      FROM gone g
    RETURNING channel)
  SELECT array_agg(DISTINCT b.channel) INTO v_channels FROM back b;
  PERFORM poke_channel(x) FROM unnest(v_channels) x;
END
$$;

-- match_channels: for each of these channels, whose pokes were taken by the caller's transaction: lock it, then look.
-- Messages that were deferred are sent; then the oldest messages meet the oldest waits.
--
-- One matcher of a channel at a time, until its transaction ends. Row locks with SKIP LOCKED would give each message to one
-- receiver, too, but not in order: a second matcher passes over the oldest message, which the first has locked, and gives
-- a younger one to the receiver that the first was about to choose.
--
-- matched: the instances that got a message; their pokes are appended, hints are the caller's. skipped: channels whose
-- lock, or some of whose rows, another transaction has: their poke is appended again, because it may roll back (H5).
-- more: some have more than one call handles.
-- What is queued on a channel that is not competing (any more) goes to its subscribers.
-- Callers: claim_runs. Commit: asynchronous (lost: message, wait and poke are back; who consumed it flushed this too).
-- Index: pk of deferred_messages, pk of channel_queue, channel_waits_queue, pk of instances.
-- Locks: the channel's advisory lock (tried), queue and wait rows (skip locked): it waits for nobody.
CREATE OR REPLACE FUNCTION match_channels(channels text[], OUT matched text[], OUT skipped int, OUT more boolean)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  c_most CONSTANT int := 256;  -- of one channel, in one call
  v_class CONSTANT int := hashtext(current_schema() || ' matched channel');
  v_channel text;
  v_message record;
  v_n int;
  v_got int;
  v_rows tid[];
  v_messages bigint[];
  v_waits tid[];
  v_waiters text[];
  v_ops int[];
  v_again text[] := '{}';
BEGIN
  matched := '{}';
  skipped := 0;
  more := false;
  FOREACH v_channel IN ARRAY $1 LOOP
    -- Lock.
    IF NOT pg_try_advisory_xact_lock(v_class, hashtext(v_channel)) THEN
      skipped := skipped + 1;
      v_again := v_again || v_channel;
      CONTINUE;
    END IF;

    -- Look, in snapshots younger than the lock. First what was deferred, and what lies in the wrong place.
    v_n := 0;
    FOR v_message IN
      WITH gone AS (
        DELETE FROM deferred_messages
         WHERE ctid = ANY (ARRAY(SELECT d.ctid
                                   FROM deferred_messages d
                                  WHERE d.channel = v_channel
                                  ORDER BY d.message_id
                                  LIMIT c_most
                                    FOR UPDATE SKIP LOCKED))
        RETURNING *)
      SELECT g.* FROM gone g ORDER BY g.message_id
    LOOP
      v_n := v_n + 1;
      PERFORM send_message(v_channel, v_message.data, v_message.metadata, v_message.target, v_message.group_name,
                           v_message.message_id);
    END LOOP;
    PERFORM FROM competing_channels c WHERE c.channel = v_channel;
    IF NOT FOUND THEN
      FOR v_message IN
        WITH gone AS (
          DELETE FROM channel_queue
           WHERE ctid = ANY (ARRAY(SELECT q.ctid
                                     FROM channel_queue q
                                    WHERE q.channel = v_channel
                                    ORDER BY q.message_id
                                    LIMIT c_most
                                      FOR UPDATE SKIP LOCKED))
          RETURNING *)
        SELECT g.* FROM gone g ORDER BY g.message_id
      LOOP
        v_n := v_n + 1;
        PERFORM send_message(v_channel, v_message.data, v_message.metadata, NULL, NULL, v_message.message_id);
      END LOOP;
      IF v_n >= c_most THEN
        more := true;
        v_again := v_again || v_channel;
      END IF;
      CONTINUE;
    END IF;

    -- Then pairs: as many as there are on the side that has fewer.
    SELECT least((SELECT count(*) FROM (SELECT FROM channel_waits w WHERE w.channel = v_channel AND NOT w.parked LIMIT c_most) w),
                 (SELECT count(*) FROM (SELECT FROM channel_queue q WHERE q.channel = v_channel LIMIT c_most) q))
      INTO v_got;
    IF v_got > 0 THEN
      SELECT array_agg(l.place ORDER BY l.message_id), array_agg(l.message_id ORDER BY l.message_id)
        INTO v_rows, v_messages
        FROM (SELECT q.ctid AS place, q.message_id
                FROM channel_queue q
               WHERE q.channel = v_channel
               ORDER BY q.message_id
               LIMIT v_got
                 FOR UPDATE SKIP LOCKED) l;
      SELECT array_agg(l.place ORDER BY l.id), array_agg(l.instance_id ORDER BY l.id), array_agg(l.op ORDER BY l.id)
        INTO v_waits, v_waiters, v_ops
        FROM (SELECT w.ctid AS place, w.id, w.instance_id, w.op
                FROM channel_waits w
               WHERE w.channel = v_channel
                 AND NOT w.parked
               ORDER BY w.id
               LIMIT v_got
                 FOR UPDATE SKIP LOCKED) l;
      IF least(coalesce(cardinality(v_rows), 0), coalesce(cardinality(v_waits), 0)) < v_got THEN
        v_got := least(coalesce(cardinality(v_rows), 0), coalesce(cardinality(v_waits), 0));
        skipped := skipped + 1;
        v_again := v_again || v_channel;
      ELSIF v_got = c_most THEN
        more := true;
        v_again := v_again || v_channel;
      END IF;
    END IF;
    IF v_n >= c_most AND NOT v_channel = ANY (v_again) THEN
      more := true;
      v_again := v_again || v_channel;
    END IF;
    CONTINUE WHEN v_got = 0;

    v_waiters := v_waiters[: v_got];
    INSERT INTO inbox (instance_id, kind, op, name, data, metadata, message_id, created_at)
    SELECT x.waiter, 2, x.op, v_channel, m.data, m.metadata, x.message_id, m.created_at
      FROM unnest(v_waiters, v_ops[: v_got], v_messages[: v_got]) x (waiter, op, message_id)
     CROSS JOIN LATERAL (SELECT q.data, q.metadata, q.created_at
                           FROM channel_queue q
                          WHERE q.channel = v_channel
                            AND q.message_id = x.message_id
                         OFFSET 0) m
     ORDER BY x.message_id;
    DELETE FROM channel_queue WHERE ctid = ANY (v_rows[: v_got]);
    DELETE FROM channel_waits WHERE ctid = ANY (v_waits[: v_got]);
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT i.route_id, i.lane, i.instance_id
      FROM instances i
     WHERE i.instance_id = ANY (v_waiters);
    matched := matched || v_waiters;
  END LOOP;

  INSERT INTO pokes (route_id, lane, instance_id)
  SELECT 0, '5', x
    FROM unnest(v_again) x;
END
$$;
