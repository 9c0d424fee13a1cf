-- romancy queue list. Index: routes_id, routes_queue, pokes_queue, pk of instances. Locks: none.
SELECT queue, paused, concurrency, key_concurrency, waiting, running, rate, rate_period
  FROM workflow_queues
 ORDER BY queue;
