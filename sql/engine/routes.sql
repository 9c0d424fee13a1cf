-- routes: which workers may take an instance: those that serve its workflow in its queue, and whose version is the
-- one it is pinned to, if it is pinned.
--
-- Ids are computed and not given out. Giving one out needs a unique index, and whoever names a workflow for the first time,
-- be it an application in a transaction that stays open for minutes, would hold up everybody else who names it.

-- route_id: from 1 to 2^60; 0 is the channels'. The same in every database and every version of PostgreSQL, because rows
-- that outlive both hold it: md5, of the names' bytes in UTF-8 whatever the database's encoding, all but the last with
-- their length, so that no two triples are the same text: that of a version begins with a v, others with a digit. (For
-- the same reason IMMUTABLE, although convert_to is not.) version '': the route of what is not pinned.
-- Callers: enter_route, start_session, commit_runs. Index, locks: none.
CREATE OR REPLACE FUNCTION route_id(queue text, workflow_name text, version text DEFAULT '')
RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT AS
$$
  SELECT ('x' || left(md5(convert_to(CASE WHEN version <> '' THEN 'v' || length(version) || ':' || version ELSE '' END
                                     || length(queue) || ':' || queue || workflow_name, 'UTF8')), 15))::bit(60)::bigint + 1
$$;

-- enter_route: the id of this route, which is in the dictionary from now on: whoever cannot see it there writes it.
-- Refuses by name (22023) a route whose id is another's.
-- Callers: start_workflow, start_session, start_children, set_workflow_version. Index: routes_id. Locks: none; nobody
-- waits for the row.
CREATE OR REPLACE FUNCTION enter_route(queue text, workflow_name text, version text DEFAULT '')
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_queue ALIAS FOR $1;
  v_name ALIAS FOR $2;
  v_version ALIAS FOR $3;
  v_id CONSTANT bigint := route_id(v_queue, v_name, v_version);
  v_known record;
BEGIN
  SELECT r.queue, r.workflow_name, r.version
    INTO v_known
    FROM routes r
   WHERE r.route_id = v_id
   ORDER BY r.queue = v_queue AND r.workflow_name = v_name AND r.version = v_version  -- another's comes first
   LIMIT 1;
  IF NOT FOUND THEN
    INSERT INTO routes (route_id, queue, workflow_name, version) VALUES (v_id, v_queue, v_name, v_version);
  ELSIF v_known.queue <> v_queue OR v_known.workflow_name <> v_name OR v_known.version <> v_version THEN
    RAISE EXCEPTION 'workflow_name: % in queue % has the route id of % in queue %, rename one', quote_literal(v_name),
      quote_literal(v_queue), quote_literal(v_known.workflow_name), quote_literal(v_known.queue)
      USING ERRCODE = '22023';
  END IF;
  RETURN v_id;
END
$$;
