-- romancy queue remove. Index: pk of queues. Locks: the queue.
SELECT remove_queue($1::text);
