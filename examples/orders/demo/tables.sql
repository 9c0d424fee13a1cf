-- What only the demo needs: the orders to place, what must become of each, and what was observed.
CREATE SCHEMA demo;

CREATE TABLE demo.incoming (
  number  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  doc     jsonb   NOT NULL
);

CREATE TABLE demo.kills (         -- every fault the demo caused
  component  text NOT NULL,
  pid        integer
);

CREATE TABLE demo.received (      -- the receiver's log: one row a delivery
  delivery  jsonb NOT NULL
);

CREATE TABLE demo.status (        -- `romancy status --json`, taken at the end
  doc  jsonb NOT NULL
);

-- The outcome that the order's own data predicts. This is the specification, written a second time and in another
-- language than workflows.cpp on purpose.
CREATE VIEW demo.expected AS
WITH judged AS (
  SELECT
    doc ->> 'id' AS order_id,
    doc ->> 'card' AS card,
    doc,
    jsonb_array_length(coalesce(doc -> 'items', '[]')) > 0
      AND NOT EXISTS (
        SELECT
        FROM jsonb_to_recordset(doc -> 'items') AS item (sku text, qty bigint, cents bigint)
        LEFT JOIN shop.stock USING (sku)
        WHERE stock.sku IS NULL OR item.qty < 1 OR item.cents <> stock.cents)
      AND doc #>> '{customer,email}' LIKE '_%@_%._%'
      AND coalesce(doc #>> '{address,postcode}', '') <> '' AS valid
  FROM demo.incoming
)
SELECT
  order_id,
  CASE
    WHEN NOT valid THEN 'rejected'
    WHEN card = '4000000000000002' THEN 'declined'
    WHEN card = '4000002500003155' THEN 'unpaid'
    ELSE 'shipped'
  END AS outcome,
  (doc ->> 'shipping_cents')::bigint
    + coalesce((SELECT sum(item.qty * item.cents)
                FROM jsonb_to_recordset(doc -> 'items') AS item (qty bigint, cents bigint)), 0) AS cents
FROM judged;

-- The outcome that each order had: a completed workflow says it in its output, a failed one is named after the
-- exception that ended it (orders::Declined); any other status speaks for itself, and no instance at all is "lost".
CREATE VIEW demo.seen AS
SELECT
  incoming.doc ->> 'id' AS order_id,
  CASE instance.status
    WHEN 'completed' THEN coalesce(instance.output ->> 'outcome', 'completed without an outcome')
    WHEN 'failed' THEN lower(regexp_replace(instance.error ->> 'type', '^orders::', ''))
    ELSE coalesce(instance.status, 'lost')
  END AS outcome,
  instance.finished_at
FROM demo.incoming
LEFT JOIN romancy.workflow_instances AS instance ON instance.instance_id = incoming.doc ->> 'id';
