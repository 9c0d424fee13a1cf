-- queues: who may change how a queue is served, in the caller's own transaction. A queue needs none of this to be used.
--
-- While such a transaction is open a limited queue is not served (its row is locked, and no worker waits for it), others are.

-- What is said of instances here holds for queued activities of a queue of that name, too, but for the rate: of each of both
-- as many (claim_activity_tasks).

-- set_queue: at most `concurrency` instances of this queue run at once, and at most `key_concurrency` of each key (those
-- without a key are not limited by it); and at most `rate` begin in each `rate_period`. NULL: any number. It replaces what was set before; a lower limit stops nothing that
-- runs, and what runs already when a queue gets its first limit is not counted.
-- Refuses by name (22023). Callers: applications, romancy. Commit: the caller's. Index: pk of queues. Locks: the queue.
CREATE OR REPLACE FUNCTION set_queue(
  queue text, concurrency int DEFAULT NULL, key_concurrency int DEFAULT NULL, rate int DEFAULT NULL,
  rate_period interval DEFAULT '1 second')
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  PERFORM check_name('queue', $1);
  IF $2 NOT BETWEEN 1 AND 1000000 THEN
    RAISE EXCEPTION 'concurrency: % is not in 1 .. 1000000', $2 USING ERRCODE = '22023';
  ELSIF $3 NOT BETWEEN 1 AND 1000000 THEN
    RAISE EXCEPTION 'key_concurrency: % is not in 1 .. 1000000', $3 USING ERRCODE = '22023';
  END IF;
  IF $4 NOT BETWEEN 1 AND 1000000 THEN
    RAISE EXCEPTION 'rate: % is not in 1 .. 1000000', $4 USING ERRCODE = '22023';
  END IF;
  PERFORM check_length('rate_period', $5, '1 millisecond', '366 days');
  INSERT INTO queues AS q (name, concurrency, key_concurrency, rate, rate_period)
  VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT ON CONSTRAINT queues_pkey DO UPDATE
     SET concurrency = excluded.concurrency, key_concurrency = excluded.key_concurrency,
         rate = excluded.rate, rate_period = excluded.rate_period, next_begin = '-infinity', changed_at = clock_timestamp();
  PERFORM hint_queue($1);
  PERFORM task_hint($1);
END
$$;

-- pause_queue: nothing of this queue is begun, or goes on, until resume_queue. What a worker has in hand goes on until it next
-- waits for something; a claim that was under way may still have taken some. False: it was paused.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of queues. Locks: the queue.
CREATE OR REPLACE FUNCTION pause_queue(queue text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  PERFORM check_name('queue', $1);
  INSERT INTO queues AS q (name, paused)
  VALUES ($1, true)
  ON CONFLICT ON CONSTRAINT queues_pkey DO UPDATE SET paused = true WHERE NOT q.paused;
  RETURN FOUND;
END
$$;

-- resume_queue: it is served again. False: it was not paused.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of queues. Locks: the queue.
CREATE OR REPLACE FUNCTION resume_queue(queue text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  PERFORM check_name('queue', $1);
  UPDATE queues q SET paused = false WHERE q.name = $1 AND q.paused;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM hint_queue($1);
  PERFORM task_hint($1);
  RETURN true;
END
$$;

-- remove_queue: what was set is forgotten: it is served without limits again. Its instances stay. False: nothing was set.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of queues, slots_queue. Locks: the queue, its slots.
CREATE OR REPLACE FUNCTION remove_queue(queue text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  PERFORM check_name('queue', $1);
  DELETE FROM queues q WHERE q.name = $1;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM slots s
   WHERE s.ctid = ANY (ARRAY(SELECT o.ctid FROM slots o WHERE o.queue = $1 FOR UPDATE SKIP LOCKED));
  PERFORM hint_queue($1);
  PERFORM task_hint($1);
  RETURN true;
END
$$;
