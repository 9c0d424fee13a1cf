-- publish: a message, in the caller's own transaction; to one instance, or to every subscriber of the channel, or, when
-- the channel is competing, to one of those that wait for it.
--
-- Returns the message's id; NULL when the target has finished (then nothing is written). A direct message needs no
-- subscription: it waits for its reader. A subscriber hears what is published by a statement that starts after its
-- subscription was committed; one committed before goes past it; side by side either may happen. A competing message
-- waits until somebody receives it.
-- In a transaction that is not READ COMMITTED, whose snapshot may be too old to see who is to get it, the message is
-- left for the next claim of any worker to send on; a target that is unknown or has finished by then is not noticed.
-- Refuses by name (22023): bad names, metadata that is no object, an unknown target.
-- Callers: applications, romancy. Commit: the caller's. Index: as send_message. Locks: none.
CREATE OR REPLACE FUNCTION publish(
  channel text, data jsonb, metadata jsonb DEFAULT '{}', target_instance_id text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
DECLARE
  v_message_id bigint;
  v_active boolean;
BEGIN
  PERFORM check_message($1, $2, $3);
  IF $4 IS NOT NULL THEN
    PERFORM check_name('target_instance_id', $4);
  END IF;
  IF snapshot_may_be_old() THEN
    RETURN defer_message($1, $2, $3, $4, NULL);
  END IF;

  LOOP
    v_message_id := send_message($1, $2, $3, $4, NULL);
    EXIT WHEN v_message_id IS NOT NULL;
    SELECT i.status IN (1, 5, 6) INTO v_active FROM instances i WHERE i.instance_id = $4;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'target_instance_id: there is no instance %', quote_literal($4) USING ERRCODE = '22023';
    END IF;
    EXIT WHEN NOT v_active;  -- else it was started between the two statements: once more
  END LOOP;
  RETURN v_message_id;
END
$$;

-- publish_to_group: a message to every member of a group, as a direct one: it needs no subscription. Returns its id,
-- also when the group has no members.
--
-- A member hears what is published by a statement that starts after it joined and before it left; side by side either
-- may happen. In a transaction that is not READ COMMITTED: as publish.
-- Refuses by name (22023): bad names, metadata that is no object.
-- Callers: applications. Commit: the caller's. Index: pk of group_members, pk of instances. Locks: none.
CREATE OR REPLACE FUNCTION publish_to_group(group_name text, channel text, data jsonb, metadata jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
BEGIN
  PERFORM check_name('group_name', $1);
  PERFORM check_message($2, $3, $4);
  IF snapshot_may_be_old() THEN
    RETURN defer_message($2, $3, $4, NULL, $1);
  END IF;
  RETURN send_message($2, $3, $4, NULL, $1);
END
$$;
