-- The shop's own tables: what an application around romancyd looks like. Nothing of the engine is in here.
-- The activities of the example write `effects` and `stock`; the application writes `orders` and `confirmations`.
CREATE SCHEMA shop;

-- The catalogue and what lies in the warehouse. `on_hand` moves only together with a row of `effects`.
CREATE TABLE shop.stock (
  sku        text   PRIMARY KEY,
  cents      bigint NOT NULL,
  delivered  bigint NOT NULL DEFAULT 1000000,
  on_hand    bigint NOT NULL DEFAULT 1000000 CONSTRAINT sold_out CHECK (on_hand >= 0)
);
INSERT INTO shop.stock (sku, cents)
VALUES
  ('TEA-ASSAM-250', 890), ('TEA-EARLGREY-100', 640), ('TEA-SENCHA-100', 1250),
  ('COFFEE-SIDAMO-500', 1590), ('COFFEE-HOUSE-1000', 2190),
  ('CUP-PORCELAIN-WHITE', 1200), ('CUP-STONEWARE-BLUE', 1450), ('POT-CAST-IRON-800', 6900),
  ('FILTER-PAPER-100', 350), ('KETTLE-GOOSENECK-1L', 8900), ('SUGAR-ROCK-500', 480), ('GIFT-BOX-LARGE', 3990);

-- One row an order, written by the client in the transaction that starts its workflow, and never updated
-- (so that xmin is that transaction, and its commit time is when the order was placed).
CREATE TABLE shop.orders (
  order_id  text   PRIMARY KEY,
  doc       jsonb  NOT NULL
);

-- Which payments were confirmed: written with the message in one transaction.
CREATE TABLE shop.confirmations (
  order_id      text        PRIMARY KEY REFERENCES shop.orders,
  message_id    bigint,
  confirmed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What activities did to the world, under the idempotency key that the engine gave them. An attempt is counted when
-- it begins; `done_at` says that the effect took place, and does not change when a later attempt finds it done.
-- Two rows of one order and kind are an effect done twice.
CREATE TABLE shop.effects (
  key        text        PRIMARY KEY,
  order_id   text        NOT NULL,
  kind       text        NOT NULL,
  cents      bigint      NOT NULL DEFAULT 0,
  attempts   integer     NOT NULL DEFAULT 1,
  first_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  done_at    timestamptz
);
