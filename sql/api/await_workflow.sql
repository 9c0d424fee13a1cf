-- await_workflow: as workflow_result, and enters a wait for the end, so that it will be told on <schema>_workflow_finished.
--
-- listed: whoever ends the instance sees the wait. The call that enters it answers false, because nobody sees it before
-- the caller's transaction has committed: call again, in another one, until it is finished or listed; then listen (LISTEN
-- before the first call) and call again when told. One row an instance, however many wait; who ends the instance takes it
-- away, whether anybody is there to hear or not.
--
-- Why twice: an end under way may have looked for waits already. So the second call, whose wait everybody sees, waits for
-- the commit that has the instance's row, by locking the row for a moment; then it looks. What begins to end it later
-- finds the wait. The lock is let go of at once, by rolling back a subtransaction: the caller's transaction may stay open.
--
-- Refuses by name: an unknown id (22023), an older snapshot (0A000).
-- Callers: applications, romancy, romancy::Client. Commit: the caller's, which ought to be this call's alone: while it
-- stays open another first call for the same instance waits for it. Index: pk of result_waits, pk of instances, pk of
-- history. Locks: the instance, for a moment, waiting: for a commit of a worker.
CREATE OR REPLACE FUNCTION await_workflow(instance_id text)
RETURNS TABLE (status text, output jsonb, error jsonb, listed boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_id ALIAS FOR $1;
  v_listed boolean;
  v_result record;
BEGIN
  PERFORM need_read_committed('await_workflow');
  PERFORM check_name('instance_id', v_id);
  v_listed := EXISTS (SELECT FROM result_waits w
                       WHERE w.instance_id = v_id
                         AND w.xid IS DISTINCT FROM pg_current_xact_id_if_assigned());
  IF v_listed THEN
    -- Lock.
    BEGIN
      PERFORM FROM instances i WHERE i.instance_id = v_id FOR SHARE;
      RAISE EXCEPTION 'let go' USING ERRCODE = 'RMLET';
    EXCEPTION
      WHEN SQLSTATE 'RMLET' THEN
        NULL;
    END;
  END IF;
  -- Look.
  SELECT r.status, r.output, r.error INTO v_result FROM workflow_result(v_id) r;
  IF v_result.status IN ('completed', 'failed', 'cancelled') THEN
    IF v_listed THEN
      -- Entered while it ended: nobody else would take it away.
      DELETE FROM result_waits w WHERE w.instance_id = v_id;
      v_listed := false;
    END IF;
  ELSIF NOT v_listed THEN
    INSERT INTO result_waits (instance_id) VALUES (v_id) ON CONFLICT DO NOTHING;
  END IF;
  RETURN QUERY SELECT v_result.status, v_result.output, v_result.error, v_listed;
END
$$;
