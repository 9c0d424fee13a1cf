-- The lock of a channel's mode, which commits take, and hold for as long as commits last. The keys are few, so that no
-- commit, however many channels it names, takes more locks than the server's table has room for. Key -1 is every
-- commit's that subscribes, shared.
-- Callers: change_subscriptions, declare_channel.
CREATE OR REPLACE FUNCTION mode_lock_class()
RETURNS int
LANGUAGE sql STABLE AS
$$
  SELECT hashtext(current_schema() || ' channel mode')
$$;

CREATE OR REPLACE FUNCTION mode_lock_key(channel text)
RETURNS int
LANGUAGE sql IMMUTABLE AS
$$
  SELECT hashtext(channel) & 255
$$;

-- The locks of a channel's declarations, which applications hold until their transactions end, be it for minutes. So
-- nobody waits for them: a commit only asks whether one is held (after it took key -1, which a declaration waits for).
-- Place 0 is that of a declaration as broadcast; those as competing do not exclude each other, and take one each of the
-- places 1 to 8.
-- Callers: declare_channel, is_being_declared.
CREATE OR REPLACE FUNCTION declaration_lock_class()
RETURNS int
LANGUAGE sql STABLE AS
$$
  SELECT hashtext(current_schema() || ' channel declared')
$$;

CREATE OR REPLACE FUNCTION declaration_lock_key(channel text, place int)
RETURNS int
LANGUAGE sql IMMUTABLE AS
$$
  SELECT hashtext(place || ' ' || channel)
$$;

-- is_being_declared: a subscription in this mode depends on a declaration that is open. Who wants to compete has nothing
-- to fear from those who declare just that.
-- Callers: change_subscriptions.
CREATE OR REPLACE FUNCTION is_being_declared(channel text, mode smallint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  FOR v_place IN 0 .. CASE WHEN $2 = 2 THEN 0 ELSE 8 END LOOP
    IF NOT pg_try_advisory_lock_shared(declaration_lock_class(), declaration_lock_key($1, v_place)) THEN
      RETURN true;
    END IF;
    PERFORM pg_advisory_unlock_shared(declaration_lock_class(), declaration_lock_key($1, v_place));
  END LOOP;
  RETURN false;
END
$$;

-- change_subscriptions: what the runs of a batch want to hear from now on, or no more; part of a commit.
--
-- A channel has one mode, of all its subscriptions: a competing one while it stands in competing_channels, else
-- broadcast. So a subscription locks its channel (advisory; shared for broadcast, exclusive for competing) and then
-- looks, and is refused when the channel has the other mode and is in use: subscribers, or queued messages. Refused
-- means an inbox row of kind refused instead of the subscription: the same commit's look sees it. In one batch the
-- competing ones come first. An abandoned, empty competing channel becomes broadcast.
-- While a transaction that declared a channel is open, what depends on its outcome is refused too.
--
-- Of one run's changes of a channel the last word counts: after the last "off" the first "on" gives the mode, and
-- another "on" in the other mode is refused.
-- Callers: commit_runs, under the instances' locks. Index: pk of subscriptions, of competing_channels, of
-- channel_queue, of channel_waits.
-- Locks: wait rows (a matcher holds those for a moment, and never waits), then advisory ones, -1 and then in key order.
CREATE OR REPLACE FUNCTION change_subscriptions(
  ids text[], acc boolean[], run int[], op int[], channel text[], wanted boolean[], mode smallint[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_class CONSTANT int := mode_lock_class();
  v_ids ALIAS FOR $1;
  v_acc ALIAS FOR $2;
  v_modes CONSTANT text[] := '{broadcast,competing}';
  v_run int[];        -- what is wanted, one a run and channel
  v_op int[];
  v_channel text[];
  v_mode smallint[];
  v_refused boolean[];
  v_twice boolean[];  -- refused already: the same run wants the other mode too
BEGIN
  IF false = ANY ($6) THEN
    DELETE FROM subscriptions
     WHERE ctid = ANY (ARRAY(SELECT s.ctid
                               FROM unnest($3, $5, $6) x (run, channel, wanted)
                              CROSS JOIN LATERAL (SELECT u.ctid
                                                    FROM subscriptions u
                                                   WHERE u.channel = x.channel
                                                     AND u.instance_id = v_ids[x.run]
                                                  OFFSET 0) s
                              WHERE v_acc[x.run]
                                AND NOT x.wanted));
    DELETE FROM channel_waits
     WHERE ctid = ANY (ARRAY(SELECT w.ctid
                               FROM unnest($3, $5, $6) x (run, channel, wanted)
                              CROSS JOIN LATERAL (SELECT u.ctid
                                                    FROM channel_waits u
                                                   WHERE u.instance_id = v_ids[x.run]
                                                     AND u.channel = x.channel
                                                  OFFSET 0) w
                              WHERE v_acc[x.run]
                                AND NOT x.wanted));
  END IF;

  SELECT array_agg(f.run), array_agg(f.op), array_agg(f.channel), array_agg(f.mode), array_agg(f.mode <> f.first_mode)
    INTO v_run, v_op, v_channel, v_mode, v_twice
    FROM (SELECT o.run, o.op, o.channel, o.mode, o.n,
                 first_value(o.mode) OVER channels AS first_mode,
                 row_number() OVER channels AS place
            FROM (SELECT x.run, x.op, x.channel, x.wanted, x.mode, x.n,
                         max(CASE WHEN x.wanted THEN 0 ELSE x.n END) OVER (PARTITION BY x.run, x.channel) AS last_off
                    FROM unnest($3, $4, $5, $6, $7) WITH ORDINALITY x (run, op, channel, wanted, mode, n)
                   WHERE v_acc[x.run]) o
           WHERE o.wanted
             AND o.n > o.last_off
          WINDOW channels AS (PARTITION BY o.run, o.channel ORDER BY o.n)) f
   WHERE f.place = 1
      OR f.mode <> f.first_mode;
  IF v_run IS NULL THEN
    RETURN;
  END IF;

  -- Lock: in key order, or two commits could wait for each other.
  PERFORM pg_advisory_xact_lock_shared(v_class, -1);
  PERFORM CASE WHEN k.exclusive THEN pg_advisory_xact_lock(v_class, k.key)
               ELSE pg_advisory_xact_lock_shared(v_class, k.key) END
     FROM (SELECT mode_lock_key(x.channel) AS key, bool_or(x.mode = 2) AS exclusive
             FROM unnest(v_channel, v_mode) x (channel, mode)
            GROUP BY 1
            ORDER BY 1
           OFFSET 0) k;

  -- Look, in later statements.
  v_refused := v_twice;
  IF 2 = ANY (v_mode) THEN
    SELECT array_agg(x.twice OR x.mode = 2
                     AND CASE WHEN (SELECT true FROM competing_channels c WHERE c.channel = x.channel LIMIT 1)
                              THEN is_being_declared(x.channel, x.mode)
                              ELSE (SELECT true FROM subscriptions s WHERE s.channel = x.channel LIMIT 1) IS NOT NULL
                         END
                     ORDER BY x.n)
      INTO v_refused
      FROM unnest(v_channel, v_mode, v_twice) WITH ORDINALITY x (channel, mode, twice, n);
    INSERT INTO competing_channels (channel)
    SELECT DISTINCT x.channel
      FROM unnest(v_channel, v_mode, v_refused) x (channel, mode, refused)
     WHERE x.mode = 2
       AND NOT x.refused
       AND (SELECT true FROM competing_channels c WHERE c.channel = x.channel LIMIT 1) IS NULL;
    INSERT INTO subscriptions (channel, instance_id)
    SELECT x.channel, v_ids[x.run]
      FROM unnest(v_run, v_channel, v_mode, v_refused) x (run, channel, mode, refused)
     WHERE x.mode = 2
       AND NOT x.refused
    ON CONFLICT ON CONSTRAINT subscriptions_pkey DO NOTHING;
  END IF;

  IF 1 = ANY (v_mode) THEN
    SELECT array_agg(x.refused OR x.mode = 1
                     AND (is_being_declared(x.channel, x.mode)
                          OR (SELECT true FROM competing_channels c WHERE c.channel = x.channel LIMIT 1) IS NOT NULL
                         AND ((SELECT true FROM subscriptions s WHERE s.channel = x.channel LIMIT 1) IS NOT NULL
                              OR (SELECT true FROM channel_queue q WHERE q.channel = x.channel LIMIT 1) IS NOT NULL))
                     ORDER BY x.n)
      INTO v_refused
      FROM unnest(v_channel, v_mode, v_refused) WITH ORDINALITY x (channel, mode, refused, n);
    -- A message whose publisher saw the former mode may be on its way to the queue, and the matcher that takes its poke
    -- may see that mode too: hence a poke from here.
    WITH changed AS (
      DELETE FROM competing_channels
       WHERE ctid = ANY (ARRAY(SELECT c.ctid
                                 FROM unnest(v_channel, v_mode, v_refused) x (channel, mode, refused)
                                CROSS JOIN LATERAL (SELECT u.ctid
                                                      FROM competing_channels u
                                                     WHERE u.channel = x.channel
                                                    OFFSET 0) c
                                WHERE x.mode = 1
                                  AND NOT x.refused))
      RETURNING channel)
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT 0, '5', c.channel
      FROM changed c;
    INSERT INTO subscriptions (channel, instance_id)
    SELECT x.channel, v_ids[x.run]
      FROM unnest(v_run, v_channel, v_mode, v_refused) x (run, channel, mode, refused)
     WHERE x.mode = 1
       AND NOT x.refused
    ON CONFLICT ON CONSTRAINT subscriptions_pkey DO NOTHING;
  END IF;

  IF true = ANY (v_refused) THEN
    INSERT INTO inbox (instance_id, kind, op, name, data)
    SELECT v_ids[x.run], 9, x.op, x.channel, jsonb_build_object(
             'type', 'ChannelModeConflict',
             'message', format('channel %L is %s, it cannot be subscribed to as %s',
                               x.channel, v_modes[3 - x.mode], v_modes[x.mode]))
      FROM unnest(v_run, v_op, v_channel, v_mode, v_refused) x (run, op, channel, mode, refused)
     WHERE x.refused;
  END IF;
END
$$;
