-- start_workflow: a new instance, in the caller's own transaction. The same id twice is the same instance: the second
-- call changes nothing and answers the same, also when both run at once (the later one waits for the earlier).
--
-- input: any JSON. instance_id NULL: a random UUID. start_at: not before that moment. priority: from -4 to 4, the higher ones
-- come first among the instances of their workflow that have something to do. key: of those of one priority each key has its
-- turn (docs/queues.md).
-- on_finished: what is to be when the id is that of an instance that has finished: 'return' it, 'refuse' (55000), or
-- 'replace' it: it is removed with all its rows, and a new one starts, in this transaction. While it has not finished it
-- is the same instance whatever this says.
-- An instance that was committed after the snapshot of a REPEATABLE READ or SERIALIZABLE transaction raises 40001, as
-- PostgreSQL does for any such row; so may, under SERIALIZABLE, side by side, the first starts of workflows nobody has
-- named before: try the transaction again.
-- Refuses by name (22023): bad names, an id that another workflow has.
-- Callers: applications, romancy. Commit: the caller's. Index: routes_id, pk of instances.
-- Locks: none but its new rows, and of those only the instance's id can make anybody wait; and that of the finished
-- instance it replaces.
DROP FUNCTION IF EXISTS start_workflow(text, jsonb, text, text, int, timestamptz);
DROP FUNCTION IF EXISTS start_workflow(text, jsonb, text, text, int, timestamptz, text);
CREATE OR REPLACE FUNCTION start_workflow(
  workflow_name text, input jsonb DEFAULT '{}', instance_id text DEFAULT NULL, queue text DEFAULT 'default',
  priority int DEFAULT 0, start_at timestamptz DEFAULT NULL, on_finished text DEFAULT 'return',
  key text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_name ALIAS FOR $1;
  v_input ALIAS FOR $2;
  v_id text := coalesce($3, gen_random_uuid()::text);
  v_queue ALIAS FOR $4;
  v_start_at ALIAS FOR $6;
  v_on_finished ALIAS FOR $7;
  v_lane text;
  v_route bigint;
  v_there record;
  v_life int;
BEGIN
  PERFORM check_name('workflow_name', v_name);
  PERFORM check_payload('input', v_input);
  PERFORM check_name('instance_id', v_id);
  PERFORM check_name('queue', v_queue);
  IF NOT isfinite(v_start_at) THEN
    RAISE EXCEPTION 'start_at: must be a moment in time' USING ERRCODE = '22023';
  END IF;

  IF v_on_finished IS NULL OR v_on_finished NOT IN ('return', 'refuse', 'replace') THEN
    RAISE EXCEPTION 'on_finished: must be return, refuse or replace, not %', coalesce(quote_literal(v_on_finished), 'NULL')
      USING ERRCODE = '22023';
  END IF;

  v_lane := lane_of($5, $8);
  v_route := enter_route(v_queue, v_name);
  LOOP
    v_life := new_life();
    INSERT INTO instances (instance_id, route_id, lane, generation, first_generation, lease_token)
    VALUES (v_id, v_route, v_lane, v_life, v_life, v_life::bigint << 32)
    ON CONFLICT DO NOTHING;
    EXIT WHEN FOUND;

    -- Looked at without a lock: that of an instance that runs would hide it from its workers.
    SELECT i.status, (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1) AS workflow_name
      INTO v_there
      FROM instances i
     WHERE i.instance_id = v_id;
    CONTINUE WHEN NOT FOUND;  -- removed since
    IF v_there.workflow_name <> v_name THEN
      RAISE EXCEPTION 'instance_id: % is an instance of workflow %', quote_literal(v_id),
        quote_literal(v_there.workflow_name) USING ERRCODE = '22023';
    ELSIF v_on_finished = 'return' OR v_there.status IN (1, 5, 6) THEN
      RETURN v_id;
    ELSIF v_on_finished = 'refuse' THEN
      RAISE EXCEPTION 'instance_id: % has finished: %', quote_literal(v_id),
        (ARRAY['completed', 'failed', 'cancelled'])[v_there.status - 1] USING ERRCODE = '55000';
    END IF;
    PERFORM lock_and_remove(v_id);  -- or another call was faster: then look again
  END LOOP;
  IF v_life <> new_life() THEN  -- the insertion waited for a removal
    v_life := new_life();
    UPDATE instances
       SET generation = v_life, first_generation = v_life, lease_token = v_life::bigint << 32
     WHERE instance_id = v_id;
  END IF;

  IF v_start_at > clock_timestamp() THEN
    INSERT INTO deadlines (instance_id, op, kind, expires_at, data) VALUES (v_id, 0, 4, v_start_at, v_input);
    PERFORM hint_timer(v_id, 4::smallint, 0, v_start_at);
  ELSE
    INSERT INTO inbox (instance_id, kind, op, data) VALUES (v_id, 1, v_life, v_input);
    INSERT INTO pokes (route_id, lane, instance_id) VALUES (v_route, v_lane, v_id);
    PERFORM hint_resumable(v_id, v_name);
  END IF;
  RETURN v_id;
END
$$;
