-- romancy queue pause. Index: pk of queues. Locks: the queue.
SELECT pause_queue($1::text);
