-- unpark: stuck instances go on. Returns how many of these ids were stuck.
--
-- Their unread `recover` rows go: they counted the crashes that parked them. A new one makes the next claim find
-- something to do. Their waits on competing channels count again, and somebody has to look at those channels.
-- Callers: resume_workflow, start_session. Index: primary keys. Locks: instances, in id order, waiting; their waits,
-- which nobody else touches.
CREATE OR REPLACE FUNCTION unpark(ids text[])
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_ids text[];
  v_channels text[];
BEGIN
  SELECT array_agg(parked.instance_id)
    INTO v_ids
    FROM (SELECT i.instance_id
            FROM instances i
           WHERE i.instance_id = ANY ($1)
             AND i.status = 5
           ORDER BY i.instance_id
             FOR NO KEY UPDATE) parked;
  IF v_ids IS NULL THEN
    RETURN 0;
  END IF;

  UPDATE instances SET status = 1, note = NULL WHERE instance_id = ANY (v_ids);
  DELETE FROM stuck WHERE instance_id = ANY (v_ids);
  DELETE FROM inbox WHERE instance_id = ANY (v_ids) AND NOT seen AND kind = 7;
  WITH waiting AS (
    UPDATE channel_waits w SET parked = false WHERE w.instance_id = ANY (v_ids) RETURNING w.channel)
  SELECT array_agg(DISTINCT w.channel) INTO v_channels FROM waiting w;
  PERFORM poke_channel(x) FROM unnest(v_channels) x;
  INSERT INTO inbox (instance_id, kind, data)
  SELECT x, 7, '{"crash": false}'
    FROM unnest(v_ids) x;
  INSERT INTO pokes (route_id, lane, instance_id)
  SELECT i.route_id, i.lane, i.instance_id
    FROM instances i
   WHERE i.instance_id = ANY (v_ids);
  PERFORM hint_resumable(i.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1))
     FROM instances i
    WHERE i.instance_id = ANY (v_ids);
  RETURN cardinality(v_ids);
END
$$;

-- resume_workflow: an operator lets a parked instance go on. False: it was not stuck; an unknown id is refused.
-- Callers: romancy. Index: pk of instances. Locks: the instance.
CREATE OR REPLACE FUNCTION resume_workflow(instance_id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM need_read_committed('resume_workflow');
  PERFORM check_name('instance_id', $1);
  PERFORM FROM instances i WHERE i.instance_id = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'instance_id: there is no instance %', quote_literal($1) USING ERRCODE = '22023';
  END IF;
  RETURN unpark(ARRAY[$1]) > 0;
END
$$;
