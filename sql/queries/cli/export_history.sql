-- romancy history export: of the present generation, oldest first, with what the replay must know of the instance; one row
-- without a seq when nothing is recorded yet. One statement, so that generation and rows are of one moment.
-- Index: pk of instances and of history. Locks: none.
SELECT i.workflow_name, i.status, i.generation, i.first_generation, h.seq, h.op, h.kind, h.name, h.data
  FROM workflow_instances i
  LEFT JOIN workflow_history h ON h.instance_id = i.instance_id
 WHERE i.instance_id = $1::text
 ORDER BY h.seq;
