-- The one table at the end of the demo. A number stands beside the one that the orders' own data demands, or that the
-- demo's own faults explain; where the two differ the verdict is WRONG and the demo fails. The other lines inform.
-- :notified (true or false) says whether notifications were on.
SET search_path = romancy;  -- check_invariants() is for workers, and looks at its own schema through it

CREATE TABLE demo.report (
  line     integer GENERATED ALWAYS AS IDENTITY,
  what     text NOT NULL,
  seen     text,
  expected text,
  verdict  text GENERATED ALWAYS AS (
    CASE WHEN expected IS NULL THEN '' WHEN seen = expected THEN 'ok' ELSE 'WRONG' END) STORED,
  note     text NOT NULL DEFAULT ''
);

CREATE FUNCTION demo.in_ms(seconds numeric) RETURNS text
LANGUAGE sql
RETURN coalesce(round(1000 * seconds, 1) || ' ms', '-');

-- Which effects an outcome consists of.
CREATE VIEW demo.expected_effects AS
SELECT order_id, kind, cents
FROM demo.expected
JOIN (VALUES
        ('shipped', 'reserve'), ('shipped', 'charge'), ('shipped', 'ship'),
        ('declined', 'reserve'), ('declined', 'release'),
        ('unpaid', 'reserve'), ('unpaid', 'charge'), ('unpaid', 'refund'), ('unpaid', 'release')) AS effect (outcome, kind)
  USING (outcome);

CREATE VIEW demo.done_effects AS
SELECT order_id, kind, count(*) AS times, sum(attempts) AS attempts
FROM shop.effects
WHERE done_at IS NOT NULL
GROUP BY order_id, kind;

-- What the processes counted: the status board, as `romancy status --json` tells it.
CREATE VIEW demo.components AS
SELECT
  component ->> 'name' AS name,
  (component ->> 'restarts')::bigint AS restarts,
  coalesce((component #>> '{counters,wakes_notified}')::bigint, 0) AS wakes_notified,
  coalesce((component #>> '{counters,wakes_swept}')::bigint, 0) AS wakes_swept,
  (component #>> '{latency,timer_lateness,p50_us}')::numeric / 1e6 AS late_p50,
  (component #>> '{latency,timer_lateness,p99_us}')::numeric / 1e6 AS late_p99
FROM demo.status, jsonb_array_elements(doc -> 'components') AS component;

-- ---- orders

INSERT INTO demo.report (what, seen, expected)
SELECT 'orders ' || expected.outcome, count(*) FILTER (WHERE seen.outcome = expected.outcome), count(*)
FROM demo.expected
JOIN demo.seen USING (order_id)
GROUP BY expected.outcome
ORDER BY count(*) DESC;

INSERT INTO demo.report (what, seen, expected)
SELECT 'orders lost, or with another outcome', count(*), 0
FROM demo.expected
JOIN demo.seen USING (order_id)
WHERE seen.outcome <> expected.outcome;

-- ---- effects

INSERT INTO demo.report (what, seen, expected, note)
SELECT
  'effects done: ' || kind,
  count(done.order_id),
  count(expected.order_id),
  coalesce(sum(done.attempts), 0) || ' attempts'
FROM demo.expected_effects AS expected
FULL JOIN demo.done_effects AS done USING (order_id, kind)
GROUP BY kind
ORDER BY array_position(ARRAY['reserve', 'charge', 'ship', 'release', 'refund'], kind);

INSERT INTO demo.report (what, seen, expected)
SELECT 'effects done twice', count(*), 0
FROM demo.done_effects
WHERE times > 1;

INSERT INTO demo.report (what, seen, expected)
SELECT
  'articles missing in the warehouse',
  (SELECT sum(delivered - on_hand) FROM shop.stock),
  (SELECT coalesce(sum(item.qty), 0)
   FROM demo.expected
   JOIN demo.incoming ON incoming.doc ->> 'id' = expected.order_id,
   LATERAL jsonb_to_recordset(incoming.doc -> 'items') AS item (qty bigint)
   WHERE expected.outcome = 'shipped');

INSERT INTO demo.report (what, seen, expected, note)
SELECT
  'money kept',
  (SELECT coalesce(sum(CASE kind WHEN 'charge' THEN cents WHEN 'refund' THEN -cents END), 0)
   FROM shop.effects
   WHERE done_at IS NOT NULL),
  (SELECT coalesce(sum(cents), 0) FROM demo.expected WHERE outcome = 'shipped'),
  'cents; every currency counted alike';

-- ---- events

INSERT INTO demo.report (what, seen, expected, note)
SELECT
  'CloudEvents delivered',
  (SELECT count(DISTINCT delivery ->> 'id') FROM demo.received),
  (SELECT count(*) FROM demo.expected WHERE outcome = 'shipped'),
  (SELECT count(*) - count(DISTINCT delivery ->> 'id') FROM demo.received) || ' of them repeated (at least once is the promise)';

INSERT INTO demo.report (what, seen, expected)
SELECT 'CloudEvents for an order twice, or for one not shipped', count(*), 0
FROM (SELECT delivery #>> '{data,order_id}' AS order_id
      FROM demo.received
      GROUP BY delivery #>> '{data,order_id}'
      HAVING count(DISTINCT delivery ->> 'id') > 1) AS twice
FULL JOIN (SELECT received.order_id
           FROM (SELECT DISTINCT delivery #>> '{data,order_id}' AS order_id FROM demo.received) AS received
           LEFT JOIN demo.expected ON expected.order_id = received.order_id AND expected.outcome = 'shipped'
           WHERE expected.order_id IS NULL) AS stray USING (order_id);

INSERT INTO demo.report (what, seen, expected)
SELECT 'events left in the outbox', count(*), 0
FROM romancy.outbox_events
WHERE status <> 'delivered';

-- ---- the engine

INSERT INTO demo.report (what, seen, expected)
SELECT 'violations of the engine''s invariants', count(*), 0
FROM romancy.check_invariants();

INSERT INTO demo.report (what, seen, expected, note)
SELECT
  'timers fired',
  (SELECT count(*) FROM romancy.workflow_history WHERE kind IN ('timer_fired', 'wait_timed_out')),
  (SELECT count(*) FROM demo.expected WHERE outcome IN ('shipped', 'unpaid')),
  'late by p50 ' || demo.in_ms(late_p50)
    || ', p99 ' || demo.in_ms(late_p99)
FROM demo.components
WHERE name = 'timer';

INSERT INTO demo.report (what, seen, note)
SELECT
  'from commit to first activity, p50',
  demo.in_ms(percentile_cont(0.50) WITHIN GROUP (ORDER BY took)::numeric),
  'p99 ' || demo.in_ms(percentile_cont(0.99) WITHIN GROUP (ORDER BY took)::numeric)
    || ', longest ' || demo.in_ms(max(took)) || ', the kills and the restart included'
FROM (SELECT extract(epoch FROM min(effects.first_at) - pg_xact_commit_timestamp(orders.xmin)) AS took
      FROM shop.orders
      JOIN shop.effects USING (order_id)
      WHERE effects.kind = 'reserve'
      GROUP BY orders.order_id, orders.xmin) AS measured;

INSERT INTO demo.report (what, seen, expected, note)
SELECT
  'wake-ups by notification',
  sum(wakes_notified),
  CASE WHEN NOT :notified THEN '0' END,
  string_agg(wakes_notified || ' ' || name, ', ' ORDER BY name)
FROM demo.components
WHERE name <> 'listener';

INSERT INTO demo.report (what, seen, note)
SELECT
  'wake-ups by sweep',
  sum(wakes_swept),
  string_agg(wakes_swept || ' ' || name, ', ' ORDER BY name)
FROM demo.components
WHERE name <> 'listener';

INSERT INTO demo.report (what, seen, expected, note)
SELECT
  'restarts of ' || name,
  restarts,
  count(kills.pid),
  CASE WHEN count(kills.pid) > 0 THEN 'killed with -9' ELSE '' END
FROM demo.components
LEFT JOIN demo.kills ON kills.component = components.name
GROUP BY name, restarts
ORDER BY name;

SELECT what, seen, expected, verdict, note FROM demo.report ORDER BY line;
