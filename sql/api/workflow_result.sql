-- workflow_result: where an instance is, and what came out of it. output is there when status is completed, error when
-- it is failed or cancelled. An unknown id is refused (22023).
-- Callers: applications. Index: pk of instances, pk of history. Locks: none.
CREATE OR REPLACE FUNCTION workflow_result(instance_id text)
RETURNS TABLE (status text, output jsonb, error jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  PERFORM check_name('instance_id', $1);
  RETURN QUERY
  SELECT w.status, w.output, w.error FROM workflow_instances w WHERE w.instance_id = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'instance_id: there is no instance %', quote_literal($1) USING ERRCODE = '22023';
  END IF;
END
$$;
