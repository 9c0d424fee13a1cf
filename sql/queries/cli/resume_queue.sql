-- romancy queue resume. Index: pk of queues. Locks: the queue.
SELECT resume_queue($1::text);
