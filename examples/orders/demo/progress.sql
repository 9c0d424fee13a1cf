-- One line for the terminal, and whether there is nothing left to wait for (the last column).
SELECT
  format('%s placed, %s finished: %s', started.n, finished.n, coalesce(finished.by_outcome, '-'))
    || format('; events %s sent, %s delivered', outbox.n, outbox.delivered),
  finished.n = (SELECT count(*) FROM demo.incoming) AND outbox.n = outbox.delivered
FROM
  (SELECT count(*) AS n FROM shop.orders) AS started,
  (SELECT coalesce(sum(n), 0) AS n, string_agg(n || ' ' || outcome, ', ' ORDER BY n DESC) AS by_outcome
   FROM (SELECT outcome, count(*) AS n
         FROM demo.seen
         WHERE finished_at IS NOT NULL
         GROUP BY outcome) AS groups) AS finished,
  (SELECT count(*) AS n, count(*) FILTER (WHERE status = 'delivered') AS delivered
   FROM romancy.outbox_events) AS outbox;
