-- The hub saw this session's process hang up: ends it, if its advisory lock is free; NULL when not.
-- Locks: session, its instances in id order.
SELECT reap_session($1::bigint);
