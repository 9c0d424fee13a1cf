-- commit_activity: the record of a transactional activity's result, in the transaction of its effects (decision 15). False: the
-- lease is gone, the caller rolls everything back. Nothing else of the run is written here: what it does next comes with
-- its next commit, through commit_runs.
--
-- The row lock is held until the caller's COMMIT: a claim, or the end of the session, comes before it or after it. At
-- repeatable read and above an instance that changed since the snapshot raises 40001: the attempt is made again.
-- The settings are the function's own because the connection is the user's: its search_path, its plans.
--
-- Caller: activity threads. Commit: synchronous, always (promise 5).
-- Index: primary keys only. Locks: whatever the user's statements locked; then the instance.
CREATE OR REPLACE FUNCTION commit_activity(
  session_id bigint, instance_id text, lease_token bigint, seq bigint, op int, kind smallint, name text, data text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
SET search_path FROM CURRENT
AS
$$
#variable_conflict use_column
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM FROM instances i
    WHERE i.instance_id = $2
      AND i.session_id = $1
      AND i.lease_token = $3
      FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO history (instance_id, seq, op, kind, name, data)
  VALUES ($2, $4, $5, $6, $7, $8::jsonb);
  RETURN true;
END
$$;
