-- The last statement of a transactional activity, before COMMIT. False: the lease is gone, roll back.
-- Index: primary keys. Locks: whatever the user's statements locked; then the instance.
SELECT :"schema".commit_activity($1::bigint, $2, $3::bigint, $4::bigint, $5::int, $6::smallint, $7, $8);
