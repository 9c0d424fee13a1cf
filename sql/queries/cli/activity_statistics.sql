-- romancy statistics. Index: none, it reads tasks whole. Locks: none.
SELECT queue, activity, waiting, held
  FROM activity_statistics
 ORDER BY queue, activity;
