-- add_outbox_event: an event that leaves for the outside if, and only if, the caller's transaction commits.
--
-- Returns its id; NULL event_id: a random UUID. The same id twice is the same event, the first one, also when both calls
-- run at once (the later one waits for the earlier).
-- Refuses by name (22023): bad names, NULL data, an id of the form of those of workflows' events: their commits would
-- wait for the caller's transaction.
-- Callers: applications. Commit: the caller's. Index: pk of outbox. Locks: none but its new row.
CREATE OR REPLACE FUNCTION add_outbox_event(
  event_type text, event_source text, data jsonb, event_id text DEFAULT NULL,
  content_type text DEFAULT 'application/json')
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_id text := coalesce($4, gen_random_uuid()::text);
BEGIN
  PERFORM check_name('event_type', $1);
  PERFORM check_name('event_source', $2);
  PERFORM check_payload('data', $3);
  PERFORM check_name('event_id', v_id);
  IF v_id ~ ':[0-9]+:[0-9]+:event$' THEN
    RAISE EXCEPTION 'event_id: % has the form of the ids of workflows'' events', quote_literal(v_id)
      USING ERRCODE = '22023';
  END IF;
  PERFORM check_name('content_type', $5);
  INSERT INTO outbox (event_id, event_type, event_source, data, content_type)
  VALUES (v_id, $1, $2, $3, $5)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM hint('outbox_pending', jsonb_build_object('event_id', v_id));
  END IF;
  RETURN v_id;
END
$$;
