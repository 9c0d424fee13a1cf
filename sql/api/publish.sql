-- publish: a message, in the caller's own transaction; to one instance, or to every subscriber of the channel.
--
-- Returns the message's id; NULL when the target has finished (then nothing is written). A direct message needs no
-- subscription: it waits for its reader. A subscriber hears what is published by a statement that starts after its
-- subscription was committed; one committed before goes past it; side by side either may happen.
-- Refuses by name (22023): bad names, metadata that is no object, an unknown target; 0A000: a snapshot older than the
-- statement, which would miss subscribers.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of instances, pk of subscriptions. Locks: none.
CREATE OR REPLACE FUNCTION publish(
  channel text, data jsonb, metadata jsonb DEFAULT '{}', target_instance_id text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
DECLARE
  v_message_id bigint;
BEGIN
  PERFORM need_read_committed('publish');
  PERFORM check_name('channel', $1);
  PERFORM check_payload('data', $2);
  PERFORM check_payload('metadata', $3);
  IF jsonb_typeof($3) <> 'object' THEN
    RAISE EXCEPTION 'metadata: must be a JSON object, not %', jsonb_typeof($3) USING ERRCODE = '22023';
  END IF;
  IF $4 IS NOT NULL THEN
    PERFORM check_name('target_instance_id', $4);
  END IF;

  v_message_id := send_message($1, $2, $3, $4);
  IF v_message_id IS NULL THEN
    PERFORM FROM instances i WHERE i.instance_id = $4;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'target_instance_id: there is no instance %', quote_literal($4) USING ERRCODE = '22023';
    END IF;
  END IF;
  RETURN v_message_id;
END
$$;
