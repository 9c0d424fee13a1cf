-- romancy queue set. Index: pk of queues. Locks: the queue.
SELECT set_queue($1::text, concurrency => $2::int, key_concurrency => $3::int, rate => $4::int, rate_period => $5::interval);
