-- The shop's client: places the orders :first to :last, each in a transaction of its own: the order's row and the
-- start of its workflow commit together or not at all. Safe to run again when the connection was lost.
SELECT
  'BEGIN',
  format('INSERT INTO shop.orders (order_id, doc) VALUES (%L, %L) ON CONFLICT DO NOTHING', doc ->> 'id', doc),
  format('SELECT romancy.start_workflow(%L, %L, instance_id => %L)', 'order', doc, doc ->> 'id'),
  'COMMIT'
FROM demo.incoming
WHERE number BETWEEN :first AND :last
ORDER BY number
\gexec
