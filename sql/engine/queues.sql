-- queues: what is paused, and how many may run at once. A queue that nobody paused or limited has no row, and costs a claim
-- that found something one look at an empty table.
--
-- A limit counts leases, and nothing else: a row of `slots` is written together with a lease, and counts while the instance
-- has that very lease (session and token). So nothing has to be given back: what a dead worker had in hand is free as soon as
-- its session has ended, by whatever path; and no count can drift. Whoever wants to lease in a limited queue locks the queue's
-- row first and counts in a later statement. Workers never wait for that row: an application may be changing it.

-- open_queue: 'open': no limit. 'limited': it is locked now, and slots of leases that are over are gone. 'paused'. 'busy':
-- somebody else has locked it. begins: how many instances may begin now; NULL: any number.
-- Callers: claim_runs. Index: pk of queues, slots_queue, pk of instances. Locks: the queue, slots (skip locked).
CREATE OR REPLACE FUNCTION open_queue(queue text, OUT state text, OUT at_once int, OUT of_key int, OUT begins int)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_queue queues;
BEGIN
  SELECT q.* INTO v_queue FROM queues q WHERE q.name = $1;
  state := CASE
    WHEN NOT FOUND THEN 'open'
    WHEN v_queue.paused THEN 'paused'
    WHEN v_queue.concurrency IS NULL AND v_queue.key_concurrency IS NULL AND v_queue.rate IS NULL THEN 'open'
  END;
  IF state IS NOT NULL THEN
    RETURN;
  END IF;
  SELECT q.* INTO v_queue FROM queues q WHERE q.name = $1 FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    state := 'busy';
    RETURN;
  END IF;
  state := CASE WHEN v_queue.paused THEN 'paused' ELSE 'limited' END;
  at_once := coalesce(v_queue.concurrency, 1000000);
  of_key := v_queue.key_concurrency;
  begins := queue_begins(v_queue);
  DELETE FROM slots
   WHERE ctid = ANY (ARRAY(SELECT s.ctid
                             FROM slots s
                            WHERE s.queue = $1
                              AND (SELECT true
                                     FROM instances i
                                    WHERE i.instance_id = s.instance_id
                                      AND i.session_id = s.session_id
                                      AND i.lease_token = s.lease_token) IS NULL
                              FOR UPDATE SKIP LOCKED));
END
$$;

-- queue_begins: how many instances may begin now by the rate of this queue; NULL: any number. They are a fraction of the period
-- apart; what was not used is kept for a tenth of a second, so that a high rate needs no claim for each of them.
-- Callers: open_queue. Index, locks: none.
CREATE OR REPLACE FUNCTION queue_begins(queue queues)
RETURNS int
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN CASE WHEN queue.rate IS NOT NULL THEN
    greatest(0, 1 + floor(extract(epoch FROM clock_timestamp() - greatest(queue.next_begin, clock_timestamp() - interval '0.1 s')) /
                          extract(epoch FROM queue.rate_period / queue.rate)))
  END;
END
$$;

-- spend_begins: so many have begun. Returns when the next may, in microseconds from now.
-- Callers: claim_runs, which has locked the queue. Index: pk of queues. Locks: the queue.
CREATE OR REPLACE FUNCTION spend_begins(queue text, begun int)
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_next timestamptz;
BEGIN
  IF begun > 0 THEN
    UPDATE queues q
       SET next_begin = greatest(q.next_begin, clock_timestamp() - interval '0.1 s') + q.rate_period / q.rate * begun
     WHERE q.name = $1;
  END IF;
  SELECT q.next_begin INTO v_next FROM queues q WHERE q.name = $1;
  RETURN greatest(1000, unix_micros(greatest(v_next, clock_timestamp())) - unix_micros(clock_timestamp()));
END
$$;

-- free_slots: some of these instances were let go: their slots go too, and those who want them are told. One that somebody is
-- deleting at this moment is skipped.
-- Callers: commit_runs, free_session, after they let go. Index: slots_instance, pk of instances. Locks: slots (skip locked).
CREATE OR REPLACE FUNCTION free_slots(ids text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_queues text[];
BEGIN
  WITH gone AS (
    DELETE FROM slots
     WHERE ctid = ANY (ARRAY(SELECT s.ctid
                               FROM slots s
                              WHERE s.instance_id = ANY ($1)
                                AND (SELECT true
                                       FROM instances i
                                      WHERE i.instance_id = s.instance_id
                                        AND i.session_id = s.session_id
                                        AND i.lease_token = s.lease_token) IS NULL
                                FOR UPDATE SKIP LOCKED))
    RETURNING queue)
  SELECT array_agg(DISTINCT g.queue) INTO v_queues FROM gone g;
  PERFORM hint_queue(x) FROM unnest(v_queues) x;
END
$$;

-- hint_queue: there may be something to do in this queue. For everybody who serves it: it names no instance, by which hubs
-- choose one.
-- Callers: free_slots, set_queue, resume_queue, remove_queue. Index: routes_queue. Locks: none.
CREATE OR REPLACE FUNCTION hint_queue(queue text)
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  PERFORM hint('workflow_resumable', jsonb_build_object('workflow_name', n.workflow_name))
     FROM (SELECT DISTINCT r.workflow_name FROM routes r WHERE r.queue = $1) n;
END
$$;
