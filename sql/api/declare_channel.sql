-- declare_channel: gives a channel its mode before anybody subscribes: 'competing' (each message goes to one receiver,
-- and waits for it) or 'broadcast' (each subscriber gets a copy; what every channel is that nobody said anything about).
-- Without it the first subscriber decides, and what is published before goes to nobody.
--
-- Nothing happens when the channel has that mode. Refuses by name: bad names (22023), a channel in use under the other
-- mode, that is with subscribers or queued messages (55000), an older snapshot (0A000).
-- Until the caller's transaction ends nobody waits for it: a subscription that depends on it is refused meanwhile. The
-- exceptions: who makes a channel broadcast while another transaction that did the same is open waits for that one, on
-- whose end his answer depends; and so does the ninth of those who make one channel competing side by side.
-- Callers: applications. Commit: the caller's. Index: as change_subscriptions.
-- Locks: one of the channel's declarations (declaration_lock_class); for a moment the commits that
-- subscribe, waiting (change_subscriptions); the channel's rows when it was competing.
CREATE OR REPLACE FUNCTION declare_channel(channel text, mode text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_channel ALIAS FOR $1;
  v_mode ALIAS FOR $2;
  v_is_competing boolean;
  v_locked boolean := false;
BEGIN
  PERFORM need_read_committed('declare_channel');
  PERFORM check_name('channel', v_channel);
  IF v_mode IS NULL OR v_mode NOT IN ('broadcast', 'competing') THEN
    RAISE EXCEPTION 'mode: must be broadcast or competing, not %', coalesce(quote_literal(v_mode), 'NULL')
      USING ERRCODE = '22023';
  END IF;
  IF EXISTS (SELECT FROM competing_channels c WHERE c.channel = v_channel) = (v_mode = 'competing') THEN
    RETURN;
  END IF;

  -- Lock: whoever subscribes from now on sees that the channel is being declared; who began before has committed.
  FOR v_place IN 1 .. 8 LOOP
    v_locked := v_mode = 'competing'
                AND pg_try_advisory_xact_lock(declaration_lock_class(), declaration_lock_key(v_channel, v_place));
    EXIT WHEN v_locked;
  END LOOP;
  IF NOT v_locked THEN
    PERFORM pg_advisory_xact_lock(declaration_lock_class(),
                                  declaration_lock_key(v_channel, CASE WHEN v_mode = 'competing' THEN 8 ELSE 0 END));
  END IF;
  PERFORM pg_advisory_lock(mode_lock_class(), -1), pg_advisory_unlock(mode_lock_class(), -1);
  -- Look.
  v_is_competing := EXISTS (SELECT FROM competing_channels c WHERE c.channel = v_channel);
  IF v_is_competing = (v_mode = 'competing') THEN
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM subscriptions s WHERE s.channel = v_channel)
     OR EXISTS (SELECT FROM channel_queue q WHERE q.channel = v_channel) THEN
    RAISE EXCEPTION 'channel: % is %, and in use', quote_literal(v_channel),
      CASE WHEN v_is_competing THEN 'competing' ELSE 'broadcast' END USING ERRCODE = '55000';
  END IF;
  IF v_is_competing THEN
    DELETE FROM competing_channels WHERE channel = v_channel;
    -- As change_subscriptions: a message may be on its way to the queue.
    INSERT INTO pokes (route_id, lane, instance_id) VALUES (0, '5', v_channel);
  ELSE
    INSERT INTO competing_channels (channel) VALUES (v_channel);
  END IF;
END
$$;
