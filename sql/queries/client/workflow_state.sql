-- Client::status. No row: there is no such instance.
-- Index: pk of instances, of history, of progress. Locks: none.
SELECT status, note, progress, output, error
  FROM workflow_instances
 WHERE instance_id = $1::text;
