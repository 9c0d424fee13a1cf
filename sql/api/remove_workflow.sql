-- remove_workflow: an instance that has finished, with all that is its own: history, archive, what is left of its inbox.
-- Its outbox events stay (they are the relay's). The id may be used again then, and nothing remembers it.
--
-- True: it is gone. False: there is none, or another transaction that removed it was faster. One that has not finished is
-- refused (55000). Under an older snapshot one that was removed since raises 40001.
-- For clients, as start_workflow with on_finished => 'replace' is: what it removes no worker will touch again.
-- Callers: applications, romancy. Commit: the caller's. Index: as remove_instances.
-- Locks: the instance's row: who starts or removes the same id waits; claims skip it.
CREATE OR REPLACE FUNCTION remove_workflow(instance_id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_id ALIAS FOR $1;
  v_status smallint;
BEGIN
  PERFORM check_name('instance_id', v_id);
  -- Look without a lock first: that of one that runs would hide it from its workers. What has finished stays finished.
  SELECT i.status INTO v_status FROM instances i WHERE i.instance_id = v_id;
  IF v_status IN (1, 5, 6) THEN
    RAISE EXCEPTION 'instance_id: % has not finished, it is %', quote_literal(v_id),
      (ARRAY['running', '', '', '', 'stuck', 'compensating'])[v_status] USING ERRCODE = '55000';
  END IF;
  RETURN lock_and_remove(v_id);
END
$$;

-- lock_and_remove: lock, then look: what is removed is what the later statements see. False: it has not finished, or there
-- is none. Callers: remove_workflow, start_workflow. Index: as remove_instances. Locks: the instance, FOR UPDATE.
CREATE OR REPLACE FUNCTION lock_and_remove(instance_id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM FROM instances i WHERE i.instance_id = $1 AND i.status IN (2, 3, 4) FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM remove_instances(ARRAY[$1]);
  RETURN true;
END
$$;
