-- Every third of the session time-out. alive = false: the session is over, drop every run and begin a new one.
-- cancelled: a JSON array of those of in_flight whose cancel row nobody has read yet.
-- Index: pk of sessions, inbox_pkey. Locks: the session row.
SELECT alive, to_jsonb(cancelled) AS cancelled
  FROM heartbeat_session($1::bigint, $2::interval, $3::text[]);
