-- routes: which workers may take an instance: those that serve its workflow in its queue.
--
-- Ids are computed and not given out. Giving one out needs a unique index, and whoever names a workflow for the first time,
-- be it an application in a transaction that stays open for minutes, would hold up everybody else who names it.

-- route_id: from 1 to 2^60; 0 is the channels'. The same in every database and every version of PostgreSQL, because rows
-- that outlive both hold it: md5, of the names' bytes in UTF-8 whatever the database's encoding, the first with its
-- length, so that no two pairs are the same text. (For the same reason IMMUTABLE, although convert_to is not.)
-- Callers: enter_route, start_session. Index, locks: none.
CREATE OR REPLACE FUNCTION route_id(queue text, workflow_name text)
RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT AS
$$
  SELECT ('x' || left(md5(convert_to(length(queue) || ':' || queue || workflow_name, 'UTF8')), 15))::bit(60)::bigint + 1
$$;

-- enter_route: the id of this route, which is in the dictionary from now on: whoever cannot see it there writes it.
-- Refuses by name (22023) a route whose id is another's.
-- Callers: start_workflow, start_session. Index: routes_id. Locks: none; nobody waits for the row.
CREATE OR REPLACE FUNCTION enter_route(queue text, workflow_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_queue ALIAS FOR $1;
  v_name ALIAS FOR $2;
  v_id CONSTANT bigint := route_id(v_queue, v_name);
  v_known record;
BEGIN
  SELECT r.queue, r.workflow_name
    INTO v_known
    FROM routes r
   WHERE r.route_id = v_id
   ORDER BY r.queue = v_queue AND r.workflow_name = v_name  -- another's comes first
   LIMIT 1;
  IF NOT FOUND THEN
    INSERT INTO routes (route_id, queue, workflow_name) VALUES (v_id, v_queue, v_name);
  ELSIF v_known.queue <> v_queue OR v_known.workflow_name <> v_name THEN
    RAISE EXCEPTION 'workflow_name: % in queue % has the route id of % in queue %, rename one', quote_literal(v_name),
      quote_literal(v_queue), quote_literal(v_known.workflow_name), quote_literal(v_known.queue)
      USING ERRCODE = '22023';
  END IF;
  RETURN v_id;
END
$$;
