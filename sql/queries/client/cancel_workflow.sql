-- Client::cancel. False: it is cancelled already; 55000 when it has completed or failed.
-- Index: pk of instances. Locks: none.
SELECT cancel_workflow(instance_id => $1::text, reason => $2::text);
