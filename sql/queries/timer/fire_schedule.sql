-- For each that was listed: what its ticks are. No row for one that another timer saw to, or that somebody has in hand.
-- Index: pk of schedules, of instances, routes_id. Locks: the schedule (skip locked), and as start_workflow.
SELECT instance_id, outcome, late_us
  FROM fire_schedule($1::text, $2::bigint, $3::bigint, $4::int, $5::bigint[], $6::bigint);
