-- tasks: queued activities. A row of `tasks` is an activity that a run waits for and that whoever claims it carries out;
-- the policy travels with it, so that SQL alone says what follows a failure. When it has ended the row goes, and an inbox
-- row tells the run. The functions for those who carry them out are in sql/api/activity_tasks.sql.
--
-- Whoever holds a task completes it in a transaction of his own, which may stay open: so a worker never waits for the lock
-- of a task. A run takes one back by a row of task_stops, which says so from its commit on; if the task is free it is
-- applied in the same commit, else by the timer's next sweep.

-- task_hint: there is something to do on this queue. For everybody who serves it: it names no instance.
CREATE OR REPLACE FUNCTION task_hint(queue text)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('activity_task', jsonb_build_object('queue', queue))
$$;

-- add_tasks: what the accepted runs of a batch queue.
-- Callers: commit_runs. Index: pk of instances. Locks: none.
CREATE OR REPLACE FUNCTION add_tasks(
  ids text[], acc boolean[], run int[], op int[], activity text[], queue text[], input text[], key text[], policy text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  INSERT INTO tasks (instance_id, op, generation, queue, lane, activity, input, key, policy)
  SELECT $1[x.run], x.op, (SELECT i.generation FROM instances i WHERE i.instance_id = $1[x.run]), x.queue,
         (SELECT i.lane FROM instances i WHERE i.instance_id = $1[x.run]), x.activity,
         x.input::jsonb, x.key, x.policy::jsonb
    FROM unnest($3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY x (run, op, activity, queue, input, key, policy, n)
   WHERE $2[x.run]
   ORDER BY x.n;
  PERFORM task_hint(x.queue)
     FROM (SELECT DISTINCT q.queue FROM unnest($3, $6) q (run, queue) WHERE $2[q.run]) x;
END
$$;

-- stop_tasks: what the accepted runs of a batch take back. wanted: the workflow was cancelled, and waits until the task
-- has ended.
-- Callers: commit_runs. Index: tasks_instance. Locks: tasks (skip locked).
CREATE OR REPLACE FUNCTION stop_tasks(ids text[], acc boolean[], run int[], op int[], wanted boolean[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_tasks bigint[];
BEGIN
  WITH stopped AS (
    INSERT INTO task_stops AS s (task_id, wanted)
    SELECT found.task_id, x.wanted
      FROM unnest($3, $4, $5) x (run, op, wanted)
     CROSS JOIN LATERAL (SELECT t.task_id
                           FROM tasks t
                          WHERE t.instance_id = $1[x.run]
                            AND t.op = x.op
                         OFFSET 0) found
     WHERE $2[x.run]
    RETURNING s.task_id)
  SELECT array_agg(s.task_id) INTO v_tasks FROM stopped s;
  PERFORM apply_task_stops(v_tasks);
END
$$;

-- end_tasks: these instances end or continue as new: nobody waits for their tasks any more.
-- Callers: commit_runs. Index: tasks_instance. Locks: tasks (skip locked).
CREATE OR REPLACE FUNCTION end_tasks(ids text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_tasks bigint[] := ARRAY(SELECT t.task_id FROM tasks t WHERE t.instance_id = ANY ($1));
BEGIN
  IF v_tasks = '{}' THEN
    RETURN;
  END IF;
  INSERT INTO task_stops (task_id, wanted) SELECT x, false FROM unnest(v_tasks) x;
  PERFORM apply_task_stops(v_tasks);
END
$$;

-- apply_task_stops: a task that was taken back goes, if nobody holds it; else whoever does is told at its next heartbeat.
-- One that is locked at this moment stays for the next sweep: until then task_wanted() reads its stop.
-- Callers: stop_tasks, end_tasks, expire_tasks, claim_activity_tasks. Index: pk of tasks, task_stops_task. Locks: tasks, task_stops (skip locked).
CREATE OR REPLACE FUNCTION apply_task_stops(tasks bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_task tasks;
  v_wanted smallint;
BEGIN
  IF $1 IS NULL OR $1 = '{}' THEN
    RETURN;
  END IF;
  FOR v_task IN
    SELECT t.* FROM tasks t WHERE t.task_id = ANY ($1) ORDER BY t.task_id FOR UPDATE SKIP LOCKED
  LOOP
    v_wanted := task_wanted(v_task);
    IF v_task.token IS NULL THEN
      DELETE FROM tasks t WHERE t.task_id = v_task.task_id;
      IF v_wanted = 2 THEN
        PERFORM tell_task_end(v_task, jsonb_build_object('status', 'withdrawn'));
      END IF;
    ELSE
      UPDATE tasks t SET wanted = v_wanted WHERE t.task_id = v_task.task_id;
    END IF;
    DELETE FROM task_stops s
     WHERE s.ctid = ANY (ARRAY(SELECT o.ctid FROM task_stops o WHERE o.task_id = v_task.task_id FOR UPDATE SKIP LOCKED));
  END LOOP;
  -- What ended meanwhile.
  DELETE FROM task_stops s
   WHERE s.ctid = ANY (ARRAY(SELECT o.ctid
                               FROM task_stops o
                              WHERE o.task_id = ANY ($1)
                                AND NOT (SELECT EXISTS (SELECT FROM tasks t WHERE t.task_id = o.task_id))
                                FOR UPDATE SKIP LOCKED));
END
$$;

-- task_wanted: 1 yes, 2 it shall stop but its result is recorded, 3 by nobody any more; stops that are not applied count.
-- Callers: whoever has locked the task. Index: task_stops_task. Locks: none.
CREATE OR REPLACE FUNCTION task_wanted(task tasks)
RETURNS smallint
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_still boolean := (SELECT bool_and(s.wanted) FROM task_stops s WHERE s.task_id = task.task_id);
BEGIN
  RETURN greatest(task.wanted, CASE WHEN v_still THEN 2 WHEN NOT v_still THEN 3 ELSE 1 END);
END
$$;

-- tell_task_end: the run that waits for this task is told how it ended, if it is still there. The caller deletes the task.
-- Callers: whoever has locked the task; in an application's transaction, too, so it waits for nobody.
-- Index: pk of instances, routes_id. Locks: none.
CREATE OR REPLACE FUNCTION tell_task_end(task tasks, outcome jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_target record;
BEGIN
  SELECT i.route_id, i.lane INTO v_target FROM instances i WHERE i.instance_id = task.instance_id AND i.status IN (1, 5, 6);
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO inbox (instance_id, kind, op, name, data)
  VALUES (task.instance_id, 12, task.op, task.activity, outcome || jsonb_build_object('generation', task.generation));
  INSERT INTO pokes (route_id, lane, instance_id) VALUES (v_target.route_id, v_target.lane, task.instance_id);
  PERFORM hint_resumable(task.instance_id, (SELECT r.workflow_name FROM routes r WHERE r.route_id = v_target.route_id LIMIT 1));
END
$$;

-- task_pause: how long after the failure of this attempt the next one is due; NULL: there is none. As include/romancy/retry.hpp
-- says it, but the part by which jitter shortens a pause is random: the pause is written down.
-- Callers: task_failed. Index, locks: none.
CREATE OR REPLACE FUNCTION task_pause(task tasks, error_type text, retryable boolean)
RETURNS interval
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_policy CONSTANT jsonb := task.policy;
  v_first CONSTANT float8 := (v_policy ->> 'first_ms')::float8;
  v_max CONSTANT float8 := (v_policy ->> 'max_ms')::float8;
  v_limit CONSTANT interval := (v_policy ->> 'max_duration_ms')::bigint * interval '1 millisecond';
  v_pause interval;
BEGIN
  IF NOT retryable
     OR (v_policy ->> 'attempts')::int <> 0 AND task.attempt >= (v_policy ->> 'attempts')::int
     OR v_policy -> 'non_retryable' ? error_type THEN
    RETURN NULL;
  END IF;
  -- By logarithms first: attempt 2000 of a policy that doubles does not fit a double.
  v_pause := CASE
      WHEN ln(v_first) + (task.attempt - 1) * ln((v_policy ->> 'coefficient')::float8) >= ln(v_max) THEN v_max
      ELSE v_first * power((v_policy ->> 'coefficient')::float8, task.attempt - 1)
    END * (1 - (v_policy ->> 'jitter')::float8 * random()) * interval '1 millisecond';
  IF v_limit > interval '0' AND clock_timestamp() + v_pause > task.first_at + v_limit THEN
    RETURN NULL;
  END IF;
  RETURN v_pause;
END
$$;

-- What a queue allows (queues.sql) goes for its tasks, too. What is held counts: every task with a token, also one whose lease
-- is over as long as whoever completes it has it locked. So nothing is counted twice or forgotten: the row of the task is
-- all there is. A claim in a limited queue locks the queue's row, ends the leases that are over, and counts in a later statement.

-- open_task_queue: how many tasks of this queue may be taken at once; 0: none now, because it is paused, or all places
-- are taken, or somebody else has locked it; NULL: any number. of_key: of each key, those that are held included; NULL: any
-- number. It is locked if there is a limit and something to take.
-- Callers: claim_activity_tasks. Index: pk of queues, tasks_held. Locks: the queue, tasks whose lease is over (skip locked).
CREATE OR REPLACE FUNCTION open_task_queue(queue text, OUT places int, OUT of_key int)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_queue queues;
  v_clock timestamptz := clock_timestamp();
  v_task tasks;
BEGIN
  SELECT q.* INTO v_queue FROM queues q WHERE q.name = $1;
  IF NOT FOUND THEN
    RETURN;
  ELSIF v_queue.paused THEN
    places := 0;
    RETURN;
  ELSIF v_queue.concurrency IS NULL AND v_queue.key_concurrency IS NULL THEN
    RETURN;
  END IF;
  -- Not worth the lock: nothing is due, or no place is free. Whoever adds one or frees one says so, when he has.
  IF (SELECT true FROM tasks t WHERE t.queue = $1 AND t.due_at <= v_clock ORDER BY t.lane LIMIT 1) IS NULL THEN
    places := 0;
    RETURN;
  END IF;
  IF v_queue.concurrency <= (SELECT count(*) FROM tasks t WHERE t.queue = $1 AND t.token IS NOT NULL AND t.due_at > v_clock) THEN
    places := 0;
    RETURN;
  END IF;
  SELECT q.* INTO v_queue FROM queues q WHERE q.name = $1 FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND OR v_queue.paused THEN
    places := 0;
    RETURN;
  END IF;
  FOR v_task IN
    SELECT t.* FROM tasks t WHERE t.queue = $1 AND t.token IS NOT NULL AND t.due_at <= v_clock FOR UPDATE SKIP LOCKED
  LOOP
    PERFORM task_lost(v_task);
  END LOOP;
  of_key := v_queue.key_concurrency;
  IF v_queue.concurrency IS NOT NULL THEN
    places := greatest(0, v_queue.concurrency - (SELECT count(*) FROM tasks t WHERE t.queue = $1 AND t.token IS NOT NULL));
  END IF;
END
$$;

-- task_lanes: from which lanes a claim takes, the most urgent first, and within a priority in a random order: so every key has
-- its turn, however many tasks another has. Where there are more lanes than one call looks at, it sometimes begins at
-- one among them. The default lane alone: found by two looks.
-- Callers: claim_activity_tasks. Index: tasks_due, one look a lane; pk of tasks. Locks: none.
CREATE OR REPLACE FUNCTION task_lanes(queue text, clock timestamptz)
RETURNS text[]
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  c_most CONSTANT int := 200;
  v_lanes text[];
  v_low bigint;
  v_high bigint;
  v_begin text;
BEGIN
  IF (SELECT true FROM tasks t WHERE t.queue = $1 AND t.lane < '5' AND t.due_at <= $2 ORDER BY t.lane LIMIT 1) IS NULL
     AND (SELECT true FROM tasks t WHERE t.queue = $1 AND t.lane > '5' AND t.due_at <= $2 ORDER BY t.lane LIMIT 1) IS NULL THEN
    RETURN '{5}';
  END IF;
  v_lanes := task_lanes_from($1, $2, '', c_most);
  IF cardinality(v_lanes) = c_most THEN
    SELECT min(t.task_id), max(t.task_id) INTO v_low, v_high FROM tasks t;
    v_low := v_low + floor(random() * (v_high - v_low + 1))::bigint;  -- before: a volatile call cannot be an index condition
    v_begin := (SELECT x.lane
                  FROM (SELECT t.lane, t.queue
                          FROM tasks t
                         WHERE t.task_id >= v_low
                         ORDER BY t.task_id
                         LIMIT 50) x
                 WHERE x.queue = $1
                 LIMIT 1);
    IF left(v_begin, 1) <= left(v_lanes[c_most], 1) THEN
      v_lanes := v_lanes || task_lanes_from($1, $2, v_begin, c_most);
    END IF;
  END IF;
  RETURN ARRAY(SELECT x.lane
                 FROM (SELECT DISTINCT l.lane COLLATE "C" AS lane FROM unnest(v_lanes) l (lane)) x
                ORDER BY left(x.lane, 1) COLLATE "C", random());
END
$$;

-- Up to `most` lanes of this queue that have something due, in order, from this one on.
-- Callers: task_lanes. Index: tasks_due, one look a lane. Locks: none.
CREATE OR REPLACE FUNCTION task_lanes_from(queue text, clock timestamptz, low text, most int)
RETURNS text[]
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
BEGIN
  RETURN ARRAY(
    WITH RECURSIVE found AS (
      SELECT (SELECT t.lane FROM tasks t WHERE t.queue = $1 AND t.lane >= $3 AND t.due_at <= $2 ORDER BY t.lane LIMIT 1) AS lane, 1 AS n
       UNION ALL
      SELECT (SELECT t.lane FROM tasks t WHERE t.queue = $1 AND t.lane > f.lane AND t.due_at <= $2 ORDER BY t.lane LIMIT 1), f.n + 1
        FROM found f
       WHERE f.lane IS NOT NULL
         AND f.n < $4)
    SELECT f.lane FROM found f WHERE f.lane IS NOT NULL ORDER BY f.n);
END
$$;

-- task_place_free: a task of this queue is not held any more: if it has a limit, those who serve it are told. Whoever was
-- claiming beside us did not see it, so they are told whatever seems to be waiting.
-- Callers: whoever takes the token of a task, or deletes a task that has one. Index: pk of queues. Locks: none.
CREATE OR REPLACE FUNCTION task_place_free(queue text)
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  IF (SELECT q.concurrency IS NOT NULL OR q.key_concurrency IS NOT NULL FROM queues q WHERE q.name = $1) THEN
    PERFORM task_hint($1);
  END IF;
END
$$;

-- task_failed: an attempt has failed. True: the task waits for another one, which is due after the policy's pause, or, when
-- its lease was lost (which took long enough), at once; a task that shall stop is not tried again.
-- Callers: fail_activity_task, expire_tasks, claim_activity_tasks: they have locked the task.
-- Index: pk of tasks. Locks: none.
CREATE OR REPLACE FUNCTION task_failed(task tasks, error_type text, message text, retryable boolean, lost boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  v_wanted CONSTANT smallint := task_wanted(task);
  v_error CONSTANT jsonb := jsonb_build_object('type', error_type, 'message', message, 'attempt', task.attempt);
  v_pause interval;
BEGIN
  PERFORM task_place_free(task.queue);
  IF v_wanted = 1 THEN
    v_pause := task_pause(task, error_type, retryable);
  END IF;
  IF v_pause IS NULL THEN
    DELETE FROM tasks t WHERE t.task_id = task.task_id;
    IF v_wanted < 3 THEN
      PERFORM tell_task_end(task, jsonb_build_object('status', 'failed', 'error', v_error));
    END IF;
    RETURN false;
  END IF;
  UPDATE tasks t
     SET token = NULL, worker = NULL, lease = NULL, last_error = v_error,
         watched = NOT lost, due_at = clock_timestamp() + CASE WHEN lost THEN interval '0' ELSE v_pause END
   WHERE t.task_id = task.task_id;
  IF lost THEN
    PERFORM task_hint(task.queue);
  ELSE
    PERFORM hint_task_due(task, clock_timestamp() + v_pause);
  END IF;
  RETURN true;
END
$$;

-- task_lost: its lease is over. Which limit it was: that of the attempt, or that between two heartbeats.
CREATE OR REPLACE FUNCTION task_lost(task tasks)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  IF task.due_at >= task_attempt_ends(task) THEN
    RETURN task_failed(task, 'AttemptTimedOut', 'no result within ' || (task.policy ->> 'timeout_ms') || ' ms', true, true);
  END IF;
  RETURN task_failed(task, 'HeartbeatTimedOut', task.worker || ' was not heard of for ' ||
                     round(extract(epoch FROM task.lease) * 1000) || ' ms', true, true);
END
$$;

-- When the attempt under way has had its time; NULL: there is no limit.
CREATE OR REPLACE FUNCTION task_attempt_ends(task tasks)
RETURNS timestamptz
LANGUAGE sql STABLE AS
$$
  SELECT task.attempt_at + nullif((task.policy ->> 'timeout_ms')::bigint, 0) * interval '1 millisecond'
$$;

-- For the timer: look at that moment.
CREATE OR REPLACE FUNCTION hint_task_due(task tasks, due_at timestamptz)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('timer_expired', jsonb_build_object(
           'instance_id', task.instance_id,
           'timer_id', 'task:' || task.op,
           'expires_at', to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
$$;

-- expire_tasks: leases that are over, pauses that are over, and stops that could not be applied at once. One row each, as
-- fire_timers has them.
-- Callers: timer, together with fire_timers. Commit: asynchronous, for the same reason.
-- Index: tasks_watched; task_stops, which is empty but for moments. Locks: tasks (skip locked).
CREATE OR REPLACE FUNCTION expire_tasks(max int)
RETURNS TABLE (instance_id text, timer_id text, late_us bigint)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_clock timestamptz := clock_timestamp();
  v_task tasks;
BEGIN
  PERFORM need_read_committed('expire_tasks');
  PERFORM set_config('synchronous_commit', 'off', true);
  FOR v_task IN
    SELECT t.* FROM tasks t WHERE t.watched AND t.due_at <= v_clock ORDER BY t.due_at LIMIT $1 FOR UPDATE SKIP LOCKED
  LOOP
    IF v_task.token IS NULL THEN
      UPDATE tasks t SET watched = false WHERE t.task_id = v_task.task_id;
      PERFORM task_hint(v_task.queue);
    ELSE
      PERFORM task_lost(v_task);
    END IF;
    instance_id := v_task.instance_id;
    timer_id := 'task:' || v_task.op;
    late_us := unix_micros(v_clock) - unix_micros(v_task.due_at);
    RETURN NEXT;
  END LOOP;
  PERFORM apply_task_stops(ARRAY(SELECT DISTINCT s.task_id FROM task_stops s LIMIT $1));
END
$$;

-- next_task: microseconds until the next lease or pause is over; negative when it is late, NULL when none.
-- Callers: timer. Index: tasks_watched. Locks: none.
CREATE OR REPLACE FUNCTION next_task()
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN (
    SELECT unix_micros(t.due_at) - unix_micros(clock_timestamp())
      FROM tasks t
     WHERE t.watched
     ORDER BY t.due_at
     LIMIT 1);
END
$$;
