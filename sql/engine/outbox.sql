-- outbox: a relay claims events in a short transaction, delivers them with none open, and then says what became of
-- them. The fence is (session, attempt), as for runs it is (session, token). At least once: a relay that dies between
-- delivery and complete_outbox leaves the event to be delivered again.

-- claim_outbox: events whose next attempt is due, in the order in which they were added (among those that are due: one
-- that waits for a retry does not hold up the others). They are due again after `hold`, or when the session ends.
-- Callers: relay. Commit: asynchronous (lost: they are due again, and our session is over).
-- Index: outbox_due. Locks: session FOR KEY SHARE, then the rows (skip locked). An idle claim locks nothing.
CREATE OR REPLACE FUNCTION claim_outbox(session_id bigint, max int, hold interval)
RETURNS TABLE (
  event_id text, event_type text, event_source text, data jsonb, content_type text, created_at text, attempt int)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_session ALIAS FOR $1;
  v_clock timestamptz := clock_timestamp();
BEGIN
  PERFORM need_read_committed('claim_outbox');
  PERFORM set_config('synchronous_commit', 'off', true);
  PERFORM FROM outbox o WHERE o.status = 1 AND o.next_attempt_at <= v_clock LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  -- As in claim_runs: whoever ends this session waits for us, or we see that it is over.
  PERFORM FROM sessions s WHERE s.session_id = v_session FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  RETURN QUERY
  WITH claimed AS (
    UPDATE outbox o
       SET session_id = v_session, attempt = o.attempt + 1, next_attempt_at = clock_timestamp() + $3
     WHERE o.ctid = ANY (ARRAY(SELECT d.ctid
                                 FROM outbox d
                                WHERE d.status = 1
                                  AND d.next_attempt_at <= v_clock
                                ORDER BY d.next_attempt_at, d.seq
                                LIMIT $2
                                  FOR UPDATE SKIP LOCKED))
    RETURNING o.*)
  SELECT c.event_id, c.event_type, c.event_source, c.data, c.content_type,
         to_char(c.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), c.attempt
    FROM claimed c
   ORDER BY c.seq;
END
$$;

-- complete_outbox: these were delivered. Returns how many were still ours. What a session holds is pending, so status
-- need not be asked; and session_id = $1 would offer the planner an index of all that is in hand, to be compared with
-- each event of the batch.
-- Callers: relay. Index: pk of outbox. Locks: the rows, in id order (as free_session takes them).
CREATE OR REPLACE FUNCTION complete_outbox(session_id bigint, event_ids text[], attempts int[])
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_ids text[];
BEGIN
  PERFORM need_read_committed('complete_outbox');
  SELECT array_agg(held.event_id)
    INTO v_ids
    FROM (SELECT x.event_id, x.attempt FROM unnest($2, $3) x (event_id, attempt) ORDER BY x.event_id) held
   CROSS JOIN LATERAL (SELECT
                         FROM outbox o
                        WHERE o.event_id = held.event_id
                          AND o.session_id IS NOT DISTINCT FROM $1
                          AND $1 IS NOT NULL
                          AND o.attempt = held.attempt
                          FOR NO KEY UPDATE) locked;
  UPDATE outbox
     SET status = 2, session_id = NULL, delivered_at = clock_timestamp(), last_error = NULL
   WHERE event_id = ANY (v_ids);
  RETURN coalesce(cardinality(v_ids), 0);
END
$$;

-- fail_outbox: the sink refused, or did not answer. Try again after retry_after, or give up for good. False: it was not
-- ours any more.
-- Callers: relay. Index: pk of outbox. Locks: the row.
CREATE OR REPLACE FUNCTION fail_outbox(
  session_id bigint, event_id text, attempt int, error text, retry_after interval, give_up boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  UPDATE outbox o
     SET status = CASE WHEN $6 THEN 3 ELSE 1 END,
         session_id = NULL,
         next_attempt_at = clock_timestamp() + coalesce($5, interval '0'),
         last_error = left($4, 2000)
   WHERE o.event_id = $2
     AND o.session_id IS NOT DISTINCT FROM $1
     AND $1 IS NOT NULL
     AND o.attempt = $3;
  RETURN FOUND;
END
$$;

-- next_outbox: microseconds until the earliest pending attempt; negative when it is late, NULL when none.
-- Callers: relay. Index: outbox_due. Locks: none.
CREATE OR REPLACE FUNCTION next_outbox()
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN (
    SELECT unix_micros(o.next_attempt_at) - unix_micros(clock_timestamp())
      FROM outbox o
     WHERE o.status = 1
     ORDER BY o.next_attempt_at, o.seq
     LIMIT 1);
END
$$;
