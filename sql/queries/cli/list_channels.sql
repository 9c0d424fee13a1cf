-- romancy channels: those somebody subscribes to, or that are competing.
-- Index: none, it reads subscriptions whole; pk of channel_queue and channel_waits_queue for the counts. Locks: none.
SELECT channel, mode, subscribers, waiting, queued
  FROM channels
 ORDER BY channel
 LIMIT $1::int;
