-- send_message: one message into the inbox of its target, or of every member of its group, or, without either, of every
-- subscriber of its channel; a competing channel's into the queue of those nobody has got yet. Returns its id; NULL
-- when the target has finished or is unknown (nothing is written then).
--
-- Every inbox row brings its poke: never left out because one is already there (hole H10). Whether the instance is
-- still active is read without a lock: a row for one that finishes meanwhile is cleared by the claim that takes its
-- poke. Whether the channel is competing likewise: what is queued on one that changes meanwhile the matcher sends on.
-- message_id: NULL, or the one the message was given when it was deferred.
-- Callers: publish, publish_to_group, commit_runs, match_channels. Needs READ COMMITTED (an older snapshot would miss
-- receivers: defer_message). Index: pk of instances, of group_members, of competing_channels, of subscriptions.
-- Locks: none.
CREATE OR REPLACE FUNCTION send_message(
  channel text, data jsonb, metadata jsonb, target text, group_name text, message_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_channel ALIAS FOR $1;
  v_target ALIAS FOR $4;
  v_group ALIAS FOR $5;
  v_message_id bigint;
  v_ids text[];
BEGIN
  IF v_target IS NOT NULL THEN
    v_ids := ARRAY(SELECT i.instance_id FROM instances i WHERE i.instance_id = v_target AND i.status IN (1, 5, 6));
    IF v_ids = '{}' THEN
      RETURN NULL;
    END IF;
  ELSIF v_group IS NOT NULL THEN
    v_ids := ARRAY(SELECT m.instance_id
                     FROM group_members m
                    WHERE m.group_name = v_group
                      AND (SELECT i.status IN (1, 5, 6) FROM instances i WHERE i.instance_id = m.instance_id));
  ELSE
    -- One statement, one snapshot: the mode and the subscribers that go with it.
    v_ids := CASE
      WHEN (SELECT true FROM competing_channels c WHERE c.channel = v_channel) THEN NULL
      ELSE ARRAY(SELECT s.instance_id
                   FROM subscriptions s
                  WHERE s.channel = v_channel
                    AND (SELECT i.status IN (1, 5, 6) FROM instances i WHERE i.instance_id = s.instance_id))
    END;
  END IF;

  v_message_id := coalesce($6, nextval('message_ids'));
  IF v_ids IS NULL THEN
    INSERT INTO channel_queue (channel, message_id, data, metadata) VALUES (v_channel, v_message_id, $2, $3);
    PERFORM poke_channel(v_channel);
  ELSIF v_ids <> '{}' THEN
    INSERT INTO inbox (instance_id, kind, name, data, metadata, message_id)
    SELECT x, 2, v_channel, $2, $3, v_message_id
      FROM unnest(v_ids) x;
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT i.route_id, i.lane, i.instance_id
      FROM instances i
     WHERE i.instance_id = ANY (v_ids);
    PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
       FROM instances i
      WHERE i.instance_id = ANY (v_ids);
  END IF;
  IF $6 IS NULL THEN
    PERFORM hint_message(v_channel, v_message_id, v_target, v_group);
  END IF;
  RETURN v_message_id;
END
$$;

-- defer_message: leaves a message for the next claim, which sees who is to get it (hole H8): this transaction's
-- snapshot may be older than a subscription, a member or the target itself. Reads nothing, so that a SERIALIZABLE
-- transaction cannot fail on it. Its id is the message's.
-- Callers: publish, publish_to_group. Index, locks: none.
CREATE OR REPLACE FUNCTION defer_message(channel text, data jsonb, metadata jsonb, target text, group_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_message_id bigint := nextval('message_ids');
BEGIN
  INSERT INTO deferred_messages (channel, message_id, target, group_name, data, metadata)
  VALUES ($1, v_message_id, $4, $5, $2, $3);
  INSERT INTO pokes (route_id, lane, instance_id) VALUES (0, '5', $1);
  PERFORM hint('workflow_resumable', jsonb_strip_nulls(jsonb_build_object('instance_id', $4, 'channel_name', $1)));
  PERFORM hint_message($1, v_message_id, $4, $5);
  RETURN v_message_id;
END
$$;
