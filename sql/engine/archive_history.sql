-- archive_history: the history of these instances' present generation leaves for the archive, so that the next one
-- begins at seq 1 and replays nothing of it. SECURITY DEFINER: a worker may move history, never delete it.
-- Callers: commit_runs (continue as new). Index: pk of history, pk of instances. Locks: rows only the
-- holder changes.
CREATE OR REPLACE FUNCTION archive_history(ids text[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  WITH gone AS (
    DELETE FROM history WHERE instance_id = ANY ($1) RETURNING *)
  INSERT INTO history_archive (instance_id, generation, seq, op, kind, name, data, created_at)
  SELECT g.instance_id,
         (SELECT i.generation FROM instances i WHERE i.instance_id = g.instance_id),
         g.seq, g.op, g.kind, g.name, g.data, g.created_at
    FROM gone g;
  INSERT INTO former_generations (instance_id, generation)
  SELECT i.instance_id, i.generation
    FROM instances i
   WHERE i.instance_id = ANY ($1);
END
$$;
