-- romancy set-version. False: it is that version's already. Index: pk of instances. Locks: the instance.
SELECT set_workflow_version($1::text, $2::text);
