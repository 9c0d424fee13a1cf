-- cancel_workflow: asks an instance to stop and compensate, in the caller's own transaction.
--
-- True: it was asked (once, however often this is called before it reads it). False: it is cancelled already.
-- An instance that waits for its start_at begins at once, to be told first thing. One that has completed or failed is
-- refused (55000), as is an unknown id (22023). Under an older snapshot the answer is about that snapshot: one that
-- has finished since is not told.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of instances, inbox_pkey, pk of deadlines.
-- Locks: none: the cancellation is an inbox row like any other.
CREATE OR REPLACE FUNCTION cancel_workflow(instance_id text, reason text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_id ALIAS FOR $1;
  v_instance record;
BEGIN
  PERFORM check_name('instance_id', v_id);
  IF octet_length($2) > 4096 THEN
    RAISE EXCEPTION 'reason: is % bytes long, at most 4096 are allowed', octet_length($2) USING ERRCODE = '22023';
  END IF;
  SELECT i.status, i.route_id, i.lane,
         (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1) AS workflow_name
    INTO v_instance
    FROM instances i
   WHERE i.instance_id = v_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'instance_id: there is no instance %', quote_literal(v_id)
                    || CASE WHEN snapshot_may_be_old() THEN ' that the snapshot of this transaction can see' ELSE '' END
      USING ERRCODE = '22023';
  ELSIF v_instance.status = 4 THEN
    RETURN false;
  ELSIF v_instance.status IN (2, 3) THEN
    RAISE EXCEPTION 'instance_id: % has finished: %', quote_literal(v_id),
      (ARRAY['completed', 'failed'])[v_instance.status - 1] USING ERRCODE = '55000';
  END IF;

  -- The one row that may be left out, together with its poke: the same cancellation is there, unread, with its own.
  IF EXISTS (SELECT FROM inbox b WHERE b.instance_id = v_id AND NOT b.seen AND b.kind = 6) THEN
    RETURN true;
  END IF;

  -- The start_at row is read and not taken: its lock would hold up another cancellation, and the commit that ends the
  -- instance, as long as this transaction stays open. So a start may be told twice, and a run hears the first one.
  INSERT INTO inbox (instance_id, kind, op, data)
  SELECT v_id, 1, (SELECT i.generation FROM instances i WHERE i.instance_id = v_id), d.data
    FROM deadlines d
   WHERE d.instance_id = v_id
     AND d.op = 0
     AND d.kind = 4;
  INSERT INTO inbox (instance_id, kind, data) VALUES (v_id, 6, jsonb_build_object('reason', $2));
  INSERT INTO pokes (route_id, lane, instance_id) VALUES (v_instance.route_id, v_instance.lane, v_id);
  PERFORM hint_resumable(v_id, v_instance.workflow_name);
  RETURN true;
END
$$;
