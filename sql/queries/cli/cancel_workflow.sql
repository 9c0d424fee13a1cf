-- romancy cancel. False: it had finished already.
-- Index: pk of instances. Locks: none.
SELECT cancel_workflow(instance_id => $1::text, reason => $2::text);
