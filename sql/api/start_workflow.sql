-- start_workflow: a new instance, in the caller's own transaction. The same id twice is the same instance: the second
-- call changes nothing and answers the same, also when both run at once (the later one waits for the earlier).
--
-- input: any JSON. instance_id NULL: a random UUID. priority: reserved, must be 0. start_at: not before that moment.
-- An instance that was committed after the snapshot of a REPEATABLE READ or SERIALIZABLE transaction raises 40001, as
-- PostgreSQL does for any such row; so may, under SERIALIZABLE, side by side, the first starts of workflows nobody has
-- named before: try the transaction again.
-- Refuses by name (22023): bad names, an id that another workflow has.
-- Callers: applications, romancy. Commit: the caller's. Index: routes_id, pk of instances.
-- Locks: none but its new rows, and of those only the instance's id can make anybody wait.
CREATE OR REPLACE FUNCTION start_workflow(
  workflow_name text, input jsonb DEFAULT '{}', instance_id text DEFAULT NULL, queue text DEFAULT 'default',
  priority int DEFAULT 0, start_at timestamptz DEFAULT NULL)
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
  v_route bigint;
  v_other text;
BEGIN
  PERFORM check_name('workflow_name', v_name);
  PERFORM check_payload('input', v_input);
  PERFORM check_name('instance_id', v_id);
  PERFORM check_name('queue', v_queue);
  IF $5 IS DISTINCT FROM 0 THEN
    RAISE EXCEPTION 'priority: only 0 is supported' USING ERRCODE = '0A000';
  ELSIF NOT isfinite(v_start_at) THEN
    RAISE EXCEPTION 'start_at: must be a moment in time' USING ERRCODE = '22023';
  END IF;

  v_route := enter_route(v_queue, v_name);
  INSERT INTO instances (instance_id, route_id) VALUES (v_id, v_route) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    SELECT (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1)
      INTO v_other
      FROM instances i
     WHERE i.instance_id = v_id;
    IF v_other <> v_name THEN
      RAISE EXCEPTION 'instance_id: % is an instance of workflow %', quote_literal(v_id), quote_literal(v_other)
        USING ERRCODE = '22023';
    END IF;
    RETURN v_id;
  END IF;

  IF v_start_at > clock_timestamp() THEN
    INSERT INTO deadlines (instance_id, op, kind, expires_at, data) VALUES (v_id, 0, 4, v_start_at, v_input);
    PERFORM hint_timer(v_id, 4::smallint, 0, v_start_at);
  ELSE
    INSERT INTO inbox (instance_id, kind, data) VALUES (v_id, 1, v_input);
    INSERT INTO pokes (route_id, instance_id) VALUES (v_route, v_id);
    PERFORM hint_resumable(v_id, v_name);
  END IF;
  RETURN v_id;
END
$$;
