-- schedules: workflows that are started at times, in the caller's own transaction.

-- create_schedule: a schedule of this name. 'created'; 'unchanged' when there is the same one; 'replaced' when there was
-- another: what it counted and started stays, ticks of the old one that nobody has seen to go, and it is paused if it was.
--
-- One of: cron: five fields, or @daily and the like, in time_zone; every: whole seconds, at the multiples since 1970.
-- jitter: each tick is later by up to this, always the same for a tick. overlap: what a tick does while the instance that
-- the last one started is active: skip, allow, cancel_other, queue_one. catch_up: a tick that is later than this is counted
-- as missed, and not started.
-- Refuses by name (22023) what is wrong with any of them.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of schedules. Locks: the schedule.
CREATE OR REPLACE FUNCTION create_schedule(
  name text, workflow_name text, cron text DEFAULT NULL, every interval DEFAULT NULL, time_zone text DEFAULT 'UTC',
  input jsonb DEFAULT '{}', queue text DEFAULT 'default', jitter interval DEFAULT '0', overlap text DEFAULT 'skip',
  catch_up interval DEFAULT '1 hour')
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_old schedules;
  v_clock timestamptz;
BEGIN
  PERFORM check_name('name', $1), check_name('workflow_name', $2), check_name('time_zone', $5),
          check_payload('input', $6), check_name('queue', $7), check_name('overlap', $9);
  IF octet_length($1) > 200 THEN
    RAISE EXCEPTION 'name: is % bytes long, at most 200 are allowed', octet_length($1) USING ERRCODE = '22023';
  ELSIF ($3 IS NULL) = ($4 IS NULL) THEN
    RAISE EXCEPTION 'cron, every: one of them must be given, and not both' USING ERRCODE = '22023';
  ELSIF $9 NOT IN ('skip', 'allow', 'cancel_other', 'queue_one') THEN
    RAISE EXCEPTION 'overlap: must be skip, allow, cancel_other or queue_one' USING ERRCODE = '22023';
  ELSIF $5 <> 'UTC' AND ($5 = 'localtime' OR NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = $5)) THEN
    RAISE EXCEPTION 'time_zone: there is no %', quote_literal($5) USING ERRCODE = '22023';
  END IF;
  IF $3 IS NOT NULL THEN
    PERFORM check_cron($3);
  ELSE
    PERFORM check_length('every', $4, '1 second', '366 days');
    IF extract(epoch FROM $4) <> trunc(extract(epoch FROM $4)) THEN
      RAISE EXCEPTION 'every: must be whole seconds' USING ERRCODE = '22023';
    END IF;
  END IF;
  PERFORM check_length('jitter', $8, '0', coalesce($4, '1 day')), check_length('catch_up', $10, '10 seconds', '366 days');

  v_clock := clock_timestamp();
  INSERT INTO schedules (name, workflow_name, queue, input, cron, every, time_zone, jitter, overlap, catch_up, version,
                         planned_from, due_at)
  VALUES ($1, $2, $7, $6, $3, $4, $5, $8, $9, $10, nextval('schedule_versions'), v_clock, v_clock)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM hint_schedule($1);
    RETURN 'created';
  END IF;

  SELECT * INTO v_old FROM schedules s WHERE s.name = $1 FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'name: schedule % is removed at this moment', quote_literal($1) USING ERRCODE = '40001';
  END IF;
  IF (v_old.workflow_name, v_old.queue, v_old.input, v_old.cron, v_old.every, v_old.time_zone, v_old.jitter, v_old.overlap,
      v_old.catch_up) IS NOT DISTINCT FROM ($2, $7, $6, $3, $4, $5, $8, $9, $10) THEN
    RETURN 'unchanged';
  END IF;
  v_clock := greatest(clock_timestamp(), v_old.last_tick);
  UPDATE schedules s
     SET workflow_name = $2, queue = $7, input = $6, cron = $3, every = $4, time_zone = $5, jitter = $8, overlap = $9,
         catch_up = $10,
         version = nextval('schedule_versions'),
         planned_from = v_clock,
         next_tick = NULL,
         due_at = CASE WHEN s.paused THEN NULL ELSE v_clock END,
         note = NULL
   WHERE s.name = $1;
  PERFORM hint_schedule($1);
  RETURN 'replaced';
END
$$;

-- lock_schedule: the schedule, for whoever is going to change it; 22023 when there is none.
-- Callers: the functions below. Index: pk of schedules. Locks: the schedule.
CREATE OR REPLACE FUNCTION lock_schedule(name text)
RETURNS schedules
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_schedule schedules;
BEGIN
  PERFORM check_name('name', $1);
  SELECT * INTO v_schedule FROM schedules s WHERE s.name = $1 FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'name: there is no schedule %', quote_literal($1) USING ERRCODE = '22023';
  END IF;
  RETURN v_schedule;
END
$$;

-- pause_schedule: no tick of it is seen to until resume_schedule; one that was queued goes. What it started goes on.
-- False: it was paused. An unknown name is refused (22023).
-- Callers: applications, romancy. Commit: the caller's. Index: pk of schedules. Locks: the schedule.
CREATE OR REPLACE FUNCTION pause_schedule(name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  IF (lock_schedule($1)).paused THEN
    RETURN false;
  END IF;
  UPDATE schedules s
     SET paused = true, version = nextval('schedule_versions'), next_tick = NULL, due_at = NULL, queued_tick = NULL
   WHERE s.name = $1;
  RETURN true;
END
$$;

-- resume_schedule: it goes on with the next tick from now; those of the time it was paused are nobody's business.
-- False: it was not paused. An unknown name is refused (22023).
-- Callers: applications, romancy. Commit: the caller's. Index: pk of schedules. Locks: the schedule.
CREATE OR REPLACE FUNCTION resume_schedule(name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_schedule schedules := lock_schedule($1);
  v_clock timestamptz := greatest(clock_timestamp(), v_schedule.last_tick);
BEGIN
  IF NOT v_schedule.paused THEN
    RETURN false;
  END IF;
  UPDATE schedules s
     SET paused = false, version = nextval('schedule_versions'), planned_from = v_clock, due_at = v_clock
   WHERE s.name = $1;
  PERFORM hint_schedule($1);
  RETURN true;
END
$$;

-- remove_schedule: it is gone; what it started goes on. False: there was none.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of schedules. Locks: the schedule.
CREATE OR REPLACE FUNCTION remove_schedule(name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
BEGIN
  PERFORM check_name('name', $1);
  DELETE FROM schedules s WHERE s.name = $1;
  RETURN FOUND;
END
$$;

-- trigger_schedule: starts its workflow now, outside of its ticks, whatever its overlap says and also while it is paused.
-- Returns the instance's id, '<name>@<now>', or refuses an unknown name (22023). The ticks take no notice of it.
-- Callers: applications, romancy. Commit: the caller's. Index: pk of schedules. Locks: as start_workflow.
CREATE OR REPLACE FUNCTION trigger_schedule(name text)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path FROM CURRENT AS
$$
#variable_conflict use_column
DECLARE
  v_schedule schedules;
BEGIN
  PERFORM check_name('name', $1);
  SELECT * INTO v_schedule FROM schedules s WHERE s.name = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'name: there is no schedule %', quote_literal($1) USING ERRCODE = '22023';
  END IF;
  RETURN start_workflow(
    workflow_name => v_schedule.workflow_name, input => v_schedule.input, queue => v_schedule.queue,
    instance_id => $1 || '@' || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
END
$$;
