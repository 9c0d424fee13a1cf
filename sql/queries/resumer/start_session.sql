-- A worker begins a session: at start, and after it lost its connections (former: the sessions it held before).
-- queues and workflow_names are pairs: one route each. Send it on the main connection: that one holds the lock.
-- Index: pk of sessions, routes(route_id). Locks: former sessions, their instances in id order.
SELECT route_id, queue, workflow_name
  FROM start_session($1::bigint, $2::text, $3::text, $4::text[], $5::text[], $6::interval, $7::bigint[], $8::text);
