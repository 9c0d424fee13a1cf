-- The payment provider's callback: confirms the payments of the orders :first to :last, each with a message to the
-- instance of its own order. Customers with the card that is never confirmed do not. Safe to run again.
INSERT INTO shop.confirmations (order_id, message_id)
SELECT
  orders.order_id,
  romancy.publish('payment.confirmed', jsonb_build_object('order_id', orders.order_id, 'provider', 'examplepay'),
                  target_instance_id => orders.order_id)
FROM demo.incoming
JOIN shop.orders ON orders.order_id = incoming.doc ->> 'id'
WHERE incoming.number BETWEEN :first AND :last
  AND orders.doc ->> 'card' <> '4000002500003155'
  AND NOT EXISTS (SELECT FROM shop.confirmations AS done WHERE done.order_id = orders.order_id);
