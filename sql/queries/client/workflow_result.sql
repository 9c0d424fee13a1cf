-- Client::result.
-- Index: pk of instances, pk of history. Locks: none.
SELECT status, output, error
  FROM workflow_result($1::text);
