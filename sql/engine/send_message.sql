-- send_message: one message into the inbox of its target, or, without a target, of every subscriber of its channel.
-- Returns its id; NULL when the target has finished or is unknown (nothing is written then).
--
-- Every inbox row brings its poke: never left out because one is already there (hole H10). Whether the instance is
-- still active is read without a lock: a row for one that finishes meanwhile is cleared by the claim that takes its
-- poke.
-- Callers: publish, commit_runs. Index: pk of instances, pk of subscriptions. Locks: none.
CREATE OR REPLACE FUNCTION send_message(channel text, data jsonb, metadata jsonb, target text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_channel ALIAS FOR $1;
  v_target ALIAS FOR $4;
  v_ids text[];
  v_message_id bigint;
BEGIN
  IF v_target IS NOT NULL THEN
    v_ids := ARRAY(SELECT i.instance_id FROM instances i WHERE i.instance_id = v_target AND i.status IN (1, 5, 6));
    IF v_ids = '{}' THEN
      RETURN NULL;
    END IF;
  ELSE
    v_ids := ARRAY(SELECT s.instance_id
                     FROM subscriptions s
                    WHERE s.channel = v_channel
                      AND (SELECT i.status IN (1, 5, 6) FROM instances i WHERE i.instance_id = s.instance_id));
  END IF;

  v_message_id := nextval('message_ids');
  IF v_ids <> '{}' THEN
    INSERT INTO inbox (instance_id, kind, name, data, metadata, message_id)
    SELECT x, 2, v_channel, $2, $3, v_message_id
      FROM unnest(v_ids) x;
    INSERT INTO pokes (route_id, instance_id)
    SELECT i.route_id, i.instance_id
      FROM instances i
     WHERE i.instance_id = ANY (v_ids);
    PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id))
       FROM instances i
      WHERE i.instance_id = ANY (v_ids);
  END IF;
  PERFORM hint('channel_message', jsonb_strip_nulls(jsonb_build_object(
            'channel_name', v_channel, 'message_id', v_message_id, 'target_instance_id', v_target)));
  RETURN v_message_id;
END
$$;
