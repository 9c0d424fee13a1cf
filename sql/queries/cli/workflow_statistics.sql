-- romancy statistics. Index: none, it reads instances whole. Locks: none.
SELECT queue, workflow_name, active, held, ready, waiting, stuck, completed, failed, cancelled
  FROM workflow_statistics
 ORDER BY queue, workflow_name;
