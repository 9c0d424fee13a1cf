-- The built-in activity romancy.group_members: who is in a group, in one snapshot, in order of their ids.
-- Index: group_members_pkey. Locks: none.
SELECT instance_id
  FROM :"schema".group_members
 WHERE group_name = $1
 ORDER BY instance_id COLLATE "C";
