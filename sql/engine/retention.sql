-- retention: what is over leaves, after its time, in small batches.
--
-- An instance leaves whole: all rows that are its own go in the transaction that deletes its row, and what comes in for
-- it later, from a transaction that saw it active, is cleared by the claim that takes its poke (clear_inbox). One that
-- has more rows than a batch may have is thinned out first, call by call, the archive and the oldest history first; its
-- output is the last to go.
-- Every function takes at most `most` things, and rows in proportion, so that its locks and its share of the connection
-- last for milliseconds; what another transaction has locked it leaves. All answer how many things went, whether it is
-- worth asking again at once, and in how many microseconds the next one is due (by the database's clock; NULL: there is
-- none). Callers: timer; romancy prune. Commit: asynchronous (lost: they are there, and removed again).
-- SECURITY DEFINER: a worker may remove what is over, and no other history.

-- new_life: the generation an instance begins with that starts now (see the sequence). Read it after the row is in: who
-- had to wait for a removal sees what that removal said.
-- Callers: start_workflow, start_children, remove_instances. Index, locks: none.
CREATE OR REPLACE FUNCTION new_life()
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN coalesce(pg_sequence_last_value('lives'), 0);
END
$$;

-- remove_instances: these, with all that is theirs. The caller has locked their rows FOR UPDATE in an earlier statement,
-- and seen that they have finished: so nobody adds a row of theirs any more but to the inbox, and to the pokes, which say
-- no more than "look".
-- The number of the next life is raised at once, also when this transaction rolls back; the lock is for those who do so
-- side by side, and never held beyond the statement.
-- Callers: remove_finished, remove_workflow, start_workflow. Index: primary keys, subscriptions_instance ..
-- Locks: rows that are nobody else's.
CREATE OR REPLACE FUNCTION remove_instances(ids text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_lock CONSTANT int := hashtext(current_schema() || ' lives');
  v_next CONSTANT int := (SELECT max(i.generation) + 1 FROM instances i WHERE i.instance_id = ANY ($1));
BEGIN
  IF v_next > new_life() THEN
    PERFORM pg_advisory_lock(v_lock, 0);
    IF v_next > new_life() THEN
      PERFORM setval('lives', v_next);
    END IF;
    PERFORM pg_advisory_unlock(v_lock, 0);
  END IF;
  PERFORM clear_inbox($1);
  DELETE FROM history_archive WHERE instance_id = ANY ($1);
  DELETE FROM former_generations WHERE instance_id = ANY ($1);
  DELETE FROM history WHERE instance_id = ANY ($1);
  DELETE FROM progress WHERE instance_id = ANY ($1);
  DELETE FROM result_waits WHERE instance_id = ANY ($1);
  DELETE FROM instances WHERE instance_id = ANY ($1);
END
$$;

-- remove_finished: instances with this final status that ended longer ago than that.
-- Index: instances_over, then as remove_instances. Locks: the instances, FOR UPDATE (skip locked): claims skip them and
-- come back.
CREATE OR REPLACE FUNCTION remove_finished(status smallint, older interval, most int)
RETURNS TABLE (removed int, more boolean, ahead_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_status ALIAS FOR $1;
  v_before CONSTANT timestamptz := clock_timestamp() - $2;
  v_rows CONSTANT int := greatest(10 * $3, 1000);  -- of histories, a call
  v_ids text[];
  v_fit text[];
  v_got int;
BEGIN
  PERFORM need_read_committed('remove_finished');
  PERFORM set_config('synchronous_commit', 'off', true);
  IF v_status NOT IN (2, 3, 4) THEN
    RAISE EXCEPTION 'status: % is not final', v_status USING ERRCODE = '22023';
  END IF;
  removed := 0;
  more := false;

  SELECT array_agg(l.instance_id ORDER BY l.finished_at)
    INTO v_ids
    FROM (SELECT i.instance_id, i.finished_at
            FROM instances i
           WHERE i.status = v_status
             AND i.finished_at <= v_before
           ORDER BY i.finished_at
           LIMIT $3
             FOR UPDATE SKIP LOCKED) l;
  IF v_ids IS NOT NULL THEN
    SELECT array_agg(s.id ORDER BY s.n)
      INTO v_fit
      FROM (SELECT x.id, x.n, sum(c.rows) OVER (ORDER BY x.n) AS so_far
              FROM unnest(v_ids) WITH ORDINALITY x (id, n)
             CROSS JOIN LATERAL (SELECT (SELECT count(*)
                                           FROM (SELECT FROM history h WHERE h.instance_id = x.id LIMIT v_rows + 1) h)
                                        + (SELECT count(*)
                                             FROM (SELECT FROM history_archive a WHERE a.instance_id = x.id LIMIT v_rows + 1) a)
                                        AS rows OFFSET 0) c) s
     WHERE s.so_far <= v_rows;
    IF v_fit IS NULL THEN
      v_got := thin_out(v_ids[1], NULL, v_rows);
      IF v_got < v_rows THEN
        DELETE FROM history
         WHERE ctid = ANY (ARRAY(SELECT h.ctid
                                   FROM history h
                                  WHERE h.instance_id = v_ids[1]
                                  ORDER BY h.seq
                                  LIMIT v_rows - 1 - v_got));
      END IF;
    ELSE
      PERFORM remove_instances(v_fit);
      removed := cardinality(v_fit);
    END IF;
    more := cardinality(v_ids) = $3 OR removed < cardinality(v_ids);
  END IF;
  ahead_us := (SELECT unix_micros(i.finished_at) - unix_micros(v_before)
                 FROM instances i
                WHERE i.status = v_status
                  AND i.finished_at IS NOT NULL
                ORDER BY i.finished_at
                LIMIT 1);
  RETURN NEXT;
END
$$;

-- thin_out: at most so many rows of an instance's archive, oldest first; of that generation, or of any. Returns how many
-- went. Callers: remove_finished, remove_generations. Index: pk of history_archive. Locks: rows that are nobody else's.
CREATE OR REPLACE FUNCTION thin_out(instance_id text, generation int, most int)
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_got int;
BEGIN
  DELETE FROM history_archive
   WHERE ctid = ANY (ARRAY(SELECT a.ctid
                             FROM history_archive a
                            WHERE a.instance_id = $1
                              AND a.generation BETWEEN coalesce($2, 0) AND coalesce($2, 2147483647)
                            ORDER BY a.generation, a.seq
                            LIMIT $3));
  GET DIAGNOSTICS v_got = ROW_COUNT;
  RETURN v_got;
END
$$;

-- remove_generations: histories in the archive, of generations that ended longer ago than that.
-- Index: former_generations_ended, pk of history_archive. Locks: rows of former_generations (skip locked).
CREATE OR REPLACE FUNCTION remove_generations(older interval, most int)
RETURNS TABLE (removed int, more boolean, ahead_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_before CONSTANT timestamptz := clock_timestamp() - $1;
  v_left int := greatest(10 * $2, 1000);  -- rows of the archive, a call
  v_former record;
  v_got int;
BEGIN
  PERFORM need_read_committed('remove_generations');
  PERFORM set_config('synchronous_commit', 'off', true);
  removed := 0;
  more := false;
  FOR v_former IN
    SELECT f.ctid AS place, f.instance_id, f.generation
      FROM former_generations f
     WHERE f.ended_at <= v_before
     ORDER BY f.ended_at
     LIMIT $2
       FOR UPDATE SKIP LOCKED
  LOOP
    v_got := thin_out(v_former.instance_id, v_former.generation, v_left);
    v_left := v_left - v_got;
    IF v_left <= 0 THEN
      more := true;
      EXIT;
    END IF;
    DELETE FROM former_generations WHERE ctid = v_former.place;
    removed := removed + 1;
  END LOOP;
  more := more OR removed = $2;
  ahead_us := (SELECT unix_micros(f.ended_at) - unix_micros(v_before)
                 FROM former_generations f
                ORDER BY f.ended_at
                LIMIT 1);
  RETURN NEXT;
END
$$;

-- remove_events: outbox events that were delivered (status 2) or given up (3) longer ago than that.
-- Index: outbox_over. Locks: the rows (skip locked).
CREATE OR REPLACE FUNCTION remove_events(status smallint, older interval, most int)
RETURNS TABLE (removed int, more boolean, ahead_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_status ALIAS FOR $1;
  v_before CONSTANT timestamptz := clock_timestamp() - $2;
BEGIN
  PERFORM need_read_committed('remove_events');
  PERFORM set_config('synchronous_commit', 'off', true);
  IF v_status NOT IN (2, 3) THEN
    RAISE EXCEPTION 'status: % is not final', v_status USING ERRCODE = '22023';
  END IF;
  DELETE FROM outbox
   WHERE ctid = ANY (ARRAY(SELECT o.ctid
                             FROM outbox o
                            WHERE o.status = v_status
                              AND o.status <> 1
                              AND coalesce(o.delivered_at, o.next_attempt_at) <= v_before
                            ORDER BY coalesce(o.delivered_at, o.next_attempt_at)
                            LIMIT $3
                              FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS removed = ROW_COUNT;
  more := removed = $3;
  ahead_us := (SELECT unix_micros(coalesce(o.delivered_at, o.next_attempt_at)) - unix_micros(v_before)
                 FROM outbox o
                WHERE o.status = v_status
                  AND o.status <> 1
                ORDER BY coalesce(o.delivered_at, o.next_attempt_at)
                LIMIT 1);
  RETURN NEXT;
END
$$;

-- remove_messages: messages of competing channels that nobody has got, published longer ago than that.
-- There is no index by time, which every message would have to pay for: it goes from channel to channel, and looks at the
-- oldest of each. A matcher that meets a row of ours leaves its channel's poke and comes back.
-- Index: pk of channel_queue. Locks: the rows (skip locked).
CREATE OR REPLACE FUNCTION remove_messages(older interval, most int)
RETURNS TABLE (removed int, more boolean, ahead_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_before CONSTANT timestamptz := clock_timestamp() - $1;
  v_channel text := (SELECT q.channel FROM channel_queue q ORDER BY q.channel LIMIT 1);
  v_got int;
BEGIN
  PERFORM need_read_committed('remove_messages');
  PERFORM set_config('synchronous_commit', 'off', true);
  removed := 0;
  WHILE v_channel IS NOT NULL AND removed < $2 LOOP
    DELETE FROM channel_queue
     WHERE ctid = ANY (ARRAY(SELECT q.ctid
                               FROM channel_queue q
                              WHERE q.ctid = ANY (ARRAY(SELECT o.ctid
                                                          FROM (SELECT u.ctid, u.created_at
                                                                  FROM channel_queue u
                                                                 WHERE u.channel = v_channel
                                                                 ORDER BY u.message_id
                                                                 LIMIT $2 - removed) o
                                                         WHERE o.created_at <= v_before))
                                FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_got = ROW_COUNT;
    removed := removed + v_got;
    ahead_us := least(ahead_us, (SELECT unix_micros(q.created_at) - unix_micros(v_before)
                                   FROM channel_queue q
                                  WHERE q.channel = v_channel
                                  ORDER BY q.message_id
                                  LIMIT 1));
    v_channel := (SELECT q.channel FROM channel_queue q WHERE q.channel > v_channel ORDER BY q.channel LIMIT 1);
  END LOOP;
  more := removed = $2;
  RETURN NEXT;
END
$$;
