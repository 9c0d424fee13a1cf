-- What stands behind a WRONG line of the report, one problem a line.
SET search_path = romancy;

SELECT 'order', expected.order_id, 'expected ' || expected.outcome, 'is ' || seen.outcome
FROM demo.expected
JOIN demo.seen USING (order_id)
WHERE seen.outcome <> expected.outcome
UNION ALL
SELECT 'effect', order_id, coalesce(expected.kind, done.kind), 'done ' || coalesce(done.times, 0) || ' times'
FROM demo.expected_effects AS expected
FULL JOIN demo.done_effects AS done USING (order_id, kind)
WHERE expected.order_id IS NULL OR done.times IS DISTINCT FROM 1
UNION ALL
SELECT 'event', event_id, status, coalesce(last_error, '')
FROM romancy.outbox_events
WHERE status <> 'delivered'
UNION ALL
SELECT 'invariant', instance_id, invariant, detail
FROM romancy.check_invariants()
ORDER BY 1, 2
LIMIT 50;
