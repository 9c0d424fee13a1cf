-- romancy versions. Index: none, it reads instances whole. Locks: none.
SELECT version, workers, instances, draining_since
  FROM worker_versions
 ORDER BY version;
