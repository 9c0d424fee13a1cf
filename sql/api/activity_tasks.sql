-- activity_tasks: how any program, in any language, carries out queued activities: claim, heartbeat, complete or fail.
--
-- A claim gives a lease and a token; every later call names the token, and changes nothing once the lease was lost to
-- somebody else. Each call is in the caller's own transaction and waits for nobody but those that hold the same task. To be
-- told of new tasks: LISTEN <schema>_activity_task, payload {"queue"}.

-- claim_activity_tasks: up to `max` tasks of this queue that are due, by the priority of their instances, from each key its part,
-- of each the oldest first; no more than the queue allows (queues.sql); and of these activities alone if names are given. The lease is the activity's heartbeat time-out unless one is given; it ends with the attempt's own time at the
-- latest. A task whose lease is over counts as failed ("HeartbeatTimedOut", "AttemptTimedOut") and is taken in its turn.
-- details: of the last heartbeat that had some, of whichever attempt. key: the same for all attempts.
-- A limited queue is claimed from by one at a time: who finds its row locked gets nothing, and is told by whoever had it
-- locked and took something, since that one may not have seen all there was. (Who took nothing tells nobody: else those
-- who find no place would wake each other for ever.)
-- Callers: applications, resumer. Index: tasks_due, tasks_held, pk of queues. Locks: the queue if it is limited, the tasks (skip
-- locked). An idle claim locks nothing.
CREATE OR REPLACE FUNCTION claim_activity_tasks(
  queue text, worker text, max int DEFAULT 1, lease interval DEFAULT NULL, activity_names text[] DEFAULT NULL)
RETURNS TABLE (
  task_id bigint, token bigint, activity text, input jsonb, attempt int, key text, instance_id text, details jsonb,
  lease_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_queue ALIAS FOR $1;
  v_worker ALIAS FOR $2;
  v_lease ALIAS FOR $4;
  v_names ALIAS FOR $5;
  v_clock timestamptz := clock_timestamp();  -- in a variable: a volatile call cannot be an index condition
  v_now timestamptz;
  v_task tasks;
  v_places int;          -- NULL: any number
  v_of_key int;
  v_left int;            -- tasks to take
  v_lanes text[];        -- the most urgent first
  v_open boolean[];      -- those that may have more
  v_first int;           -- where the lanes of this priority begin
  v_n int;
  v_part int;            -- to take from this lane
  v_found int;
  v_key text;
  v_taken boolean := false;
BEGIN
  PERFORM need_read_committed('claim_activity_tasks');
  PERFORM check_name('queue', v_queue);
  PERFORM check_name('worker', v_worker);
  IF $3 IS NULL OR $3 NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'max: % is not in 1 .. 1000', coalesce($3::text, 'NULL') USING ERRCODE = '22023';
  ELSIF v_lease < interval '1 millisecond' OR v_lease > interval '366 days' THEN
    RAISE EXCEPTION 'lease: % is not in 1 ms .. 366 days', v_lease USING ERRCODE = '22023';
  END IF;
  SELECT o.places, o.of_key INTO v_places, v_of_key FROM open_task_queue(v_queue) o;
  v_left := least($3, v_places);
  IF v_left = 0 THEN
    RETURN;
  END IF;
  v_clock := clock_timestamp();
  v_lanes := task_lanes(v_queue, v_clock);
  v_open := array_fill(true, ARRAY[cardinality(v_lanes)]);
  -- Of the most urgent priority that has some: from each lane its part, until all have nothing more; then of the next.
  v_n := 1;
  v_first := 1;
  WHILE v_left > 0 LOOP
    IF v_n > cardinality(v_lanes) OR left(v_lanes[v_n], 1) <> left(v_lanes[v_first], 1) THEN
      IF true = ANY (v_open[v_first : v_n - 1]) THEN
        v_n := v_first;
      ELSE
        EXIT WHEN v_n > cardinality(v_lanes);
        v_first := v_n;
      END IF;
    END IF;
    IF NOT v_open[v_n] THEN
      v_n := v_n + 1;
      CONTINUE;
    END IF;
    v_part := CASE
      WHEN cardinality(v_lanes) = 1 THEN v_left
      ELSE greatest(1, v_left / (SELECT count(*)::int
                                   FROM unnest(v_lanes, v_open) x (lane, open)
                                  WHERE x.open AND left(x.lane, 1) = left(v_lanes[v_n], 1)))
    END;
    v_key := substr(v_lanes[v_n], 2);
    IF v_of_key IS NOT NULL AND v_key <> '' THEN
      v_part := least(v_part, v_of_key - (SELECT count(*) FROM tasks t
                                           WHERE t.queue = v_queue AND t.token IS NOT NULL AND substr(t.lane, 2) = v_key));
    END IF;
    v_found := 0;
    FOR v_task IN
      SELECT t.*
        FROM tasks t
       WHERE t.queue = v_queue
         AND t.lane = v_lanes[v_n]
         AND t.due_at <= v_clock
         AND (v_names IS NULL OR t.activity = ANY (v_names))
       ORDER BY t.due_at, t.task_id
       LIMIT greatest(v_part, 0)
         FOR UPDATE SKIP LOCKED
    LOOP
      v_found := v_found + 1;
      CONTINUE WHEN v_task.token IS NOT NULL AND NOT task_lost(v_task);
      IF task_wanted(v_task) > 1 THEN  -- it was locked when it was taken back
        PERFORM apply_task_stops(ARRAY[v_task.task_id]);
        CONTINUE;
      END IF;
      v_now := clock_timestamp();
      UPDATE tasks t
         SET attempt = t.attempt + 1,
             token = ('x' || left(replace(gen_random_uuid()::text, '-', ''), 15))::bit(60)::bigint,
             worker = v_worker,
             lease = x.lease,
             due_at = v_now + least(x.lease, nullif((t.policy ->> 'timeout_ms')::bigint, 0) * interval '1 millisecond'),
             watched = true,
             attempt_at = v_now,
             first_at = coalesce(t.first_at, v_now)
        FROM (SELECT coalesce(v_lease, (v_task.policy ->> 'heartbeat_ms')::bigint * interval '1 millisecond') AS lease) x
       WHERE t.task_id = v_task.task_id
      RETURNING t.* INTO v_task;
      PERFORM hint_task_due(v_task, v_task.due_at);
      v_left := v_left - 1;
      v_taken := true;
      task_id := v_task.task_id;
      token := v_task.token;
      activity := v_task.activity;
      input := v_task.input;
      attempt := v_task.attempt;
      key := v_task.key;
      instance_id := v_task.instance_id;
      details := v_task.details;
      lease_us := (extract(epoch FROM v_task.lease) * 1000000)::bigint;
      RETURN NEXT;
    END LOOP;
    v_open[v_n] := v_part > 0 AND v_found = v_part AND cardinality(v_lanes) > 1;
    v_n := v_n + 1;
  END LOOP;
  IF v_taken AND (v_places IS NOT NULL OR v_of_key IS NOT NULL) THEN
    PERFORM task_hint(v_queue);
  END IF;
END
$$;

-- heartbeat_activity_task: 'ok': the lease begins anew. 'cancelled': so it does, but the work should stop: then fail (or
-- complete) it. 'lost': it is somebody else's now, or the attempt's own time is over: stop, nothing will be heard.
-- details are kept for the next attempt; NULL leaves those that are there.
-- Callers: applications, resumer. Index: pk of tasks, task_stops_task. Locks: the task, waiting.
CREATE OR REPLACE FUNCTION heartbeat_activity_task(task_id bigint, token bigint, details jsonb DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_details ALIAS FOR $3;
  v_task tasks;
BEGIN
  PERFORM check_task($1, $2);
  IF v_details IS NOT NULL THEN
    PERFORM check_payload('details', v_details);
  END IF;
  SELECT t.* INTO v_task FROM tasks t WHERE t.task_id = $1 AND t.token = $2 FOR UPDATE;
  IF NOT FOUND OR task_attempt_ends(v_task) <= clock_timestamp() THEN
    RETURN 'lost';
  END IF;
  UPDATE tasks t
     SET due_at = least(clock_timestamp() + t.lease, task_attempt_ends(v_task)), details = coalesce(v_details, t.details)
   WHERE t.task_id = $1;
  RETURN CASE WHEN task_wanted(v_task) = 1 THEN 'ok' ELSE 'cancelled' END;
END
$$;

-- complete_activity_task: the workflow gets the result. False: the lease was lost, or nobody waits for it any more; what
-- was done in this transaction may be rolled back then.
-- Callers: applications, resumer. Index: pk of tasks, task_stops_task, pk of instances. Locks: the task, waiting.
CREATE OR REPLACE FUNCTION complete_activity_task(task_id bigint, token bigint, result jsonb)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_task tasks;
BEGIN
  PERFORM check_task($1, $2);
  PERFORM check_payload('result', $3);
  SELECT t.* INTO v_task FROM tasks t WHERE t.task_id = $1 AND t.token = $2 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM tasks t WHERE t.task_id = $1;
  PERFORM task_place_free(v_task.queue);
  IF task_wanted(v_task) = 3 THEN
    RETURN false;
  END IF;
  PERFORM tell_task_end(v_task, jsonb_build_object('status', 'completed', 'result', $3));
  RETURN true;
END
$$;

-- fail_activity_task: the attempt has failed; whether there is another the activity's policy says, unless `retryable` is
-- false. False: the lease was lost, or nobody waits for it any more.
-- Callers: applications, resumer. Index: as complete_activity_task. Locks: the task, waiting.
CREATE OR REPLACE FUNCTION fail_activity_task(
  task_id bigint, token bigint, type text, message text, retryable boolean DEFAULT true)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_task tasks;
BEGIN
  PERFORM check_task($1, $2);
  PERFORM check_name('type', $3);
  IF $4 IS NULL THEN
    RAISE EXCEPTION 'message: must not be NULL' USING ERRCODE = '22023';
  ELSIF octet_length($4) > 65536 THEN
    RAISE EXCEPTION 'message: is % bytes long, at most 65536 are allowed', octet_length($4) USING ERRCODE = '22023';
  ELSIF $5 IS NULL THEN
    RAISE EXCEPTION 'retryable: must not be NULL' USING ERRCODE = '22023';
  END IF;
  SELECT t.* INTO v_task FROM tasks t WHERE t.task_id = $1 AND t.token = $2 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM task_failed(v_task, $3, $4, $5, false);
  RETURN task_wanted(v_task) < 3;
END
$$;

-- release_activity_task: whoever took it will not do it after all (he is being stopped, say): it is due at once, and this
-- attempt does not count. False: the lease was lost.
-- Callers: applications, resumer. Index: pk of tasks. Locks: the task, waiting.
CREATE OR REPLACE FUNCTION release_activity_task(task_id bigint, token bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_task tasks;
BEGIN
  PERFORM check_task($1, $2);
  SELECT t.* INTO v_task FROM tasks t WHERE t.task_id = $1 AND t.token = $2 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF task_wanted(v_task) > 1 THEN
    PERFORM task_failed(v_task, 'Released', 'it was given back after it had been asked to stop', false, false);
    RETURN true;
  END IF;
  UPDATE tasks t
     SET token = NULL, worker = NULL, lease = NULL, watched = false, attempt = t.attempt - 1, due_at = clock_timestamp()
   WHERE t.task_id = $1;
  PERFORM task_hint(v_task.queue);
  RETURN true;
END
$$;

-- Callers: these functions.
CREATE OR REPLACE FUNCTION check_task(task_id bigint, token bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'task_id: must not be NULL' USING ERRCODE = '22023';
  ELSIF $2 IS NULL THEN
    RAISE EXCEPTION 'token: must not be NULL' USING ERRCODE = '22023';
  END IF;
END
$$;
