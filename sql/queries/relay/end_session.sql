-- A clean stop: what is still leased goes back to the queue at once. NULL: there was no such session.
-- Index: claims(session_id), pk of instances. Locks: session, its instances in id order.
SELECT end_session($1::bigint, $2::boolean, $3::boolean);
