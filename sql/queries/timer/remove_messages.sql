-- Messages of competing channels that waited too long, a batch.
-- Index: pk of channel_queue. Locks: the rows (skip locked).
SELECT removed, more, ahead_us
  FROM remove_messages($1::bigint * interval '1 millisecond', $2::int);
