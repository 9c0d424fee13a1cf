-- pg::await_end: each statement a transaction of its own. status, output, error, listed.
-- Index: pk of result_waits, of instances, of history. Locks: the instance for a moment.
SELECT status, output, error, listed
  FROM await_workflow($1::text);
