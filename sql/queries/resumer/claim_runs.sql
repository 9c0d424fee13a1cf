-- On a wake, a resync or a sweep, when there is room for more runs. The last row (instance_id NULL) is the summary.
-- Marks: those of the previous answer; '0' in a new session and in the fallback sweep.
-- Index: pokes(route_id, lane, xid, id), pk of instances, inbox(instance_id, seen, id).
-- Locks: session (key share), pokes and instances (skip locked).
SELECT instance_id, workflow_name, lease_token, generation, status, fresh, crashes, left_behind, inbox, history,
       clock_us, created_us, first_generation
  FROM claim_runs($1::bigint, $2::bigint[], $3::text[], $4::int, $5::int);
