-- What becomes of compensations that failed for good. The instance stays `compensating`, and its note begins with
-- "compensation"; a person has repaired the outside world, or decides to leave it.

-- decide_compensations: puts the decision into the inbox of an instance that waits for one.
-- Refuses by name: an unknown id (22023), an instance that waits for no such decision (55000, naming its status).
-- Callers: retry_compensations, give_up_compensations. Index: pk of instances. Locks: none; that it was decided twice
-- is for the run to see, the first decision counts.
CREATE OR REPLACE FUNCTION decide_compensations(instance_id text, retry boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_id ALIAS FOR $1;
  v_instance record;
BEGIN
  PERFORM check_name('instance_id', v_id);
  SELECT i.status, i.note, i.route_id, i.lane,
         (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1) AS workflow_name
    INTO v_instance
    FROM instances i
   WHERE i.instance_id = v_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'instance_id: there is no instance %', quote_literal(v_id) USING ERRCODE = '22023';
  ELSIF v_instance.status <> 6 OR v_instance.note NOT LIKE 'compensation%' OR v_instance.note IS NULL THEN
    RAISE EXCEPTION 'instance_id: % has no failed compensations, it is %', quote_literal(v_id),
      (ARRAY['running', 'completed', 'failed', 'cancelled', 'stuck', 'compensating'])[v_instance.status]
      USING ERRCODE = '55000';
  END IF;
  INSERT INTO inbox (instance_id, kind, data) VALUES (v_id, 10, jsonb_build_object('retry', $2));
  INSERT INTO pokes (route_id, lane, instance_id) VALUES (v_instance.route_id, v_instance.lane, v_id);
  PERFORM hint_resumable(v_id, v_instance.workflow_name);
END
$$;

-- retry_compensations: those that failed run again, with fresh attempts.
-- Callers: applications, romancy. Commit: the caller's. Index, locks: as decide_compensations.
CREATE OR REPLACE FUNCTION retry_compensations(instance_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
BEGIN
  PERFORM decide_compensations($1, true);
END
$$;

-- give_up_compensations: those that failed are left undone, and the instance ends.
-- Callers: applications, romancy. Commit: the caller's. Index, locks: as decide_compensations.
CREATE OR REPLACE FUNCTION give_up_compensations(instance_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
BEGIN
  PERFORM decide_compensations($1, false);
END
$$;
