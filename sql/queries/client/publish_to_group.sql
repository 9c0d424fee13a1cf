-- Client::publish to a group.
-- Index: pk of group_members, pk of instances. Locks: none.
SELECT publish_to_group(group_name => $1::text, channel => $2::text, data => $3::jsonb, metadata => $4::jsonb);
