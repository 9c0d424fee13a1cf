-- Client::start. NULL instance_id: a random one; NULL start_at: now; NULL key: none.
-- Index: pk of instances. Locks: none but its own new rows.
SELECT start_workflow(workflow_name => $1::text, input => $2::jsonb, instance_id => $3::text, queue => $4::text,
                      start_at => $5::timestamptz, priority => $6::int, key => $7::text);
