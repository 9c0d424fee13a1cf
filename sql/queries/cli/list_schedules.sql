-- romancy schedule list. Index: none, it sorts the whole table; pk of instances. Locks: none.
SELECT name, workflow_name, queue, cron, every, time_zone, jitter, overlap, catch_up, paused, next_tick, queued_tick,
       last_tick, last_instance_id, last_status, started, overlapped, missed, note, input
  FROM workflow_schedules
 ORDER BY name;
