-- romancy schedule create. Index: pk of schedules. Locks: the schedule.
SELECT create_schedule($1::text, $2::text, cron => $3::text, every => $4::interval, time_zone => $5::text,
  input => $6::jsonb, queue => $7::text, jitter => $8::interval, overlap => $9::text, catch_up => $10::interval);
