-- Client::publish. NULL target: to every subscriber of the channel. Answers NULL when the target has finished.
-- Index: pk of instances or of subscriptions. Locks: none.
SELECT publish(channel => $1::text, data => $2::jsonb, metadata => $3::jsonb, target_instance_id => $4::text);
