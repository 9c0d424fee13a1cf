-- schedules: what timers do about them, and what a cron must look like.
--
-- A timer lists what is due, computes ticks, and says what it found: which ticks there are, and which is the next. All that
-- is decided here, under the schedule's row lock: it counts only if the row is as it was listed (version, next_tick), so each
-- tick is seen to once, by whichever of any number of timers comes first. Only the database's clock decides what is due.
-- A schedule that an application has in hand in an open transaction is skipped, and is still due afterwards.

-- Moments are microseconds since 1970 on their way to a timer, and seconds on their way back: ticks are whole seconds.

-- The instance that a tick starts: '<name>@2026-01-02T03:04:00Z'.
CREATE OR REPLACE FUNCTION tick_id(name text, tick timestamptz)
RETURNS text
LANGUAGE sql STABLE AS
$$
  SELECT name || '@' || to_char(tick AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

-- How much later than its tick: the same whoever asks, from nothing up to `jitter`.
CREATE OR REPLACE FUNCTION tick_delay(name text, tick timestamptz, jitter interval)
RETURNS interval
LANGUAGE sql STABLE AS
$$
  SELECT jitter * (('x' || encode(substring(sha256(convert_to(tick_id(name, tick), 'UTF8')) FROM 1 FOR 4), 'hex'))::bit(32)::bigint
                   / 4294967296.0)
$$;

-- is_active: this instance has not ended. Index: pk of instances.
CREATE OR REPLACE FUNCTION is_active(instance_id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
BEGIN
  RETURN EXISTS (SELECT FROM instances i WHERE i.instance_id = $1 AND i.status IN (1, 5, 6));
END
$$;

-- start_tick: the instance of a tick, unless it is there (then another schedule of that name began it).
-- NULL: done. Otherwise why not; 'busy' when it may be tried again: an application is starting an instance of that id in a
-- transaction that is open.
-- Callers: fire_schedule, look_at_schedules. Index: pk of instances, routes_id. Locks: as start_workflow.
CREATE OR REPLACE FUNCTION start_tick(schedule schedules, instance_id text)
RETURNS text
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_timeout CONSTANT text := current_setting('lock_timeout');
BEGIN
  IF EXISTS (SELECT FROM instances i WHERE i.instance_id = $2) THEN
    RETURN NULL;
  END IF;
  PERFORM set_config('lock_timeout', '100ms', true);
  BEGIN
    PERFORM start_workflow(workflow_name => $1.workflow_name, input => $1.input, instance_id => $2, queue => $1.queue);
  EXCEPTION
    WHEN lock_not_available THEN
      PERFORM set_config('lock_timeout', v_timeout, true);
      RETURN 'busy';
    WHEN invalid_parameter_value OR feature_not_supported OR object_not_in_prerequisite_state THEN
      PERFORM set_config('lock_timeout', v_timeout, true);
      RETURN $2 || ' was not started: ' || SQLERRM;
  END;
  PERFORM set_config('lock_timeout', v_timeout, true);
  RETURN NULL;
END
$$;

-- look_at_schedules: starts the queued ticks whose turn it is, and lists what is due.
-- Callers: timer. started: the instance of a queued tick; else a due schedule. Commit: synchronous: nothing else remembers
-- that a tick was started. Index: schedules_queued, schedules_due, pk of instances.
-- Locks: schedules with a queued tick (skip locked).
CREATE OR REPLACE FUNCTION look_at_schedules(max int)
RETURNS TABLE (started text, name text, version bigint, cron text, every_s bigint, time_zone text,
               planned_from_us bigint, next_tick_us bigint, cutoff_us bigint, clock_us bigint)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_schedule schedules;
  v_name text;
  v_id text;
  v_why text;
  v_clock timestamptz;
BEGIN
  PERFORM need_read_committed('look_at_schedules');
  FOR v_name IN SELECT s.name
                  FROM schedules s
                 WHERE s.queued_tick IS NOT NULL
                   AND s.last_instance_id > ''
                   AND NOT is_active(s.last_instance_id)
                 ORDER BY s.last_instance_id
  LOOP
    -- Locked, then looked at again: another timer may have been here.
    SELECT * INTO v_schedule FROM schedules s WHERE s.name = v_name FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN v_schedule.queued_tick IS NULL OR is_active(v_schedule.last_instance_id);
    v_id := tick_id(v_name, v_schedule.queued_tick);
    v_why := start_tick(v_schedule, v_id);
    CONTINUE WHEN v_why = 'busy';
    UPDATE schedules s
       SET queued_tick = NULL,
           last_instance_id = CASE WHEN v_why IS NULL THEN v_id ELSE s.last_instance_id END,
           started = s.started + CASE WHEN v_why IS NULL THEN 1 ELSE 0 END,
           missed = s.missed + CASE WHEN v_why IS NULL THEN 0 ELSE 1 END,
           note = v_why
     WHERE s.name = v_name;
    IF v_why IS NULL THEN
      started := v_id;
      RETURN NEXT;
    END IF;
  END LOOP;

  v_clock := clock_timestamp();
  RETURN QUERY
  SELECT NULL, s.name, s.version, s.cron, extract(epoch FROM s.every)::bigint, s.time_zone, unix_micros(s.planned_from),
         unix_micros(s.next_tick), unix_micros(v_clock - s.catch_up - s.jitter), unix_micros(v_clock)
    FROM schedules s
   WHERE s.due_at <= v_clock
   ORDER BY s.due_at
   LIMIT $1;
END
$$;

-- next_schedule: microseconds until a schedule has to be looked at; negative when it is late, NULL when none is.
-- Callers: timer, after each look. Index: schedules_due, schedules_queued, pk of instances. Locks: none.
CREATE OR REPLACE FUNCTION next_schedule()
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  IF EXISTS (SELECT FROM schedules s
              WHERE s.queued_tick IS NOT NULL AND s.last_instance_id > '' AND NOT is_active(s.last_instance_id)) THEN
    RETURN 0;
  END IF;
  RETURN (
    SELECT unix_micros(s.due_at) - unix_micros(clock_timestamp())
      FROM schedules s
     WHERE s.due_at IS NOT NULL
     ORDER BY s.due_at
     LIMIT 1);
END
$$;

-- fire_schedule: a listed schedule has missed so many ticks that are too old, has these, and then `next`; in seconds since
-- 1970. It is done only if the schedule is as it was listed. One row a tick: instance_id and how late, or why not.
-- Nothing: another timer was faster, somebody changed it, or has it in hand.
--
-- What the overlap says, it says about the instance that the last tick started. To queue a tick the instance is locked
-- first: it ends under that lock, so either this sees its end, or its end sees the queued tick (wake_schedules).
-- Callers: timer. Commit: synchronous: nothing else remembers that a tick was started.
-- Index: pk of schedules, of instances, routes_id. Locks: the schedule (skip locked), with queue_one the instance (skip
-- locked), and as start_workflow.
CREATE OR REPLACE FUNCTION fire_schedule(
  name text, version bigint, expected bigint, missed int, ticks bigint[], next bigint)
RETURNS TABLE (instance_id text, outcome text, late_us bigint)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_schedule schedules;
  v_clock timestamptz := clock_timestamp();
  v_next timestamptz := to_timestamp($6);
  v_seconds bigint;
  v_tick timestamptz;
  v_due timestamptz;
  v_why text;
  v_status smallint;
BEGIN
  PERFORM need_read_committed('fire_schedule');
  SELECT * INTO v_schedule FROM schedules s WHERE s.name = $1 FOR UPDATE SKIP LOCKED;
  IF v_schedule.version IS DISTINCT FROM $2
     OR v_schedule.next_tick IS DISTINCT FROM to_timestamp($3)
     OR v_schedule.due_at IS NULL
     OR v_schedule.due_at > v_clock THEN
    RETURN;
  END IF;

  v_schedule.missed := v_schedule.missed + $4;
  FOREACH v_seconds IN ARRAY $5 LOOP
    v_tick := to_timestamp(v_seconds);
    v_due := v_tick + tick_delay($1, v_tick, v_schedule.jitter);
    instance_id := tick_id($1, v_tick);
    late_us := unix_micros(v_clock) - unix_micros(v_due);
    IF late_us < 0 THEN
      v_next := v_tick;
      EXIT;
    END IF;

    outcome := 'started';
    IF v_schedule.overlap = 'skip' AND is_active(v_schedule.last_instance_id) THEN
      outcome := 'overlapped';
    ELSIF v_schedule.overlap = 'queue_one' AND v_schedule.queued_tick IS NOT NULL THEN
      outcome := 'overlapped';
    ELSIF v_schedule.overlap = 'queue_one' AND is_active(v_schedule.last_instance_id) THEN
      SELECT i.status INTO v_status
        FROM instances i
       WHERE i.instance_id = v_schedule.last_instance_id
         FOR SHARE SKIP LOCKED;
      IF NOT FOUND THEN
        v_next := v_tick;  -- it is in somebody's hand: perhaps it ends
        EXIT;
      END IF;
      IF v_status IN (1, 5, 6) THEN
        outcome := 'queued';
      END IF;
    ELSIF v_schedule.overlap = 'cancel_other' AND is_active(v_schedule.last_instance_id) THEN
      PERFORM send_cancels(ARRAY[v_schedule.last_instance_id], ARRAY['the next tick of schedule ' || $1 || ' has come']);
    END IF;

    IF outcome = 'started' THEN
      v_why := start_tick(v_schedule, instance_id);
      IF v_why = 'busy' THEN
        v_next := v_tick;
        EXIT;
      END IF;
      v_schedule.note := v_why;
      IF v_why IS NOT NULL THEN
        outcome := 'failed';
      END IF;
    END IF;
    CASE outcome
      WHEN 'started' THEN
        v_schedule.last_instance_id := instance_id;
        v_schedule.started := v_schedule.started + 1;
      WHEN 'queued' THEN v_schedule.queued_tick := v_tick;
      WHEN 'overlapped' THEN v_schedule.overlapped := v_schedule.overlapped + 1;
      ELSE v_schedule.missed := v_schedule.missed + 1;
    END CASE;
    v_schedule.last_tick := v_tick;
    RETURN NEXT;
  END LOOP;

  UPDATE schedules s
     SET next_tick = v_next,
         due_at = v_next + tick_delay($1, v_next, s.jitter),
         queued_tick = v_schedule.queued_tick,
         last_tick = v_schedule.last_tick,
         last_instance_id = v_schedule.last_instance_id,
         started = v_schedule.started,
         overlapped = v_schedule.overlapped,
         missed = v_schedule.missed,
         note = v_schedule.note
   WHERE s.name = $1;
END
$$;

-- note_schedule: why a timer cannot compute its ticks. It stays due: a timer on another host may know better.
-- Callers: timer. Index: pk of schedules. Locks: the schedule (skip locked).
CREATE OR REPLACE FUNCTION note_schedule(name text, version bigint, note text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
BEGIN
  PERFORM FROM schedules s WHERE s.name = $1 AND s.version = $2 FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    UPDATE schedules s SET note = $3 WHERE s.name = $1;
  END IF;
  RETURN FOUND;
END
$$;

-- wake_schedules: these instances end; where a tick waits for that, a timer is to look.
-- Callers: commit_runs, under the locks of the instances. Index: schedules_queued. Locks: none.
CREATE OR REPLACE FUNCTION wake_schedules(ended text[])
RETURNS void
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_name text;
BEGIN
  FOR v_name IN SELECT s.name FROM schedules s WHERE s.queued_tick IS NOT NULL AND s.last_instance_id = ANY ($1) LOOP
    PERFORM hint_schedule(v_name);
  END LOOP;
END
$$;

-- cron_field: the values that a field of a cron names; 22023 with the field's name if it cannot be read.
-- As item_bits and field_bits of common/cron/cron.cpp; tests/pg/schedules_test.cpp holds them against each other.
-- Callers: check_cron.
CREATE OR REPLACE FUNCTION cron_field(field text, text text, low int, high int, names text[])
RETURNS int[]
LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
  v_values int[] := '{}';
  v_item text;
  v_parts text[];
  v_from int;
  v_to int;
  v_step int;
  v_wrong text;
BEGIN
  FOREACH v_item IN ARRAY string_to_array(text, ',') LOOP
    v_parts := regexp_match(lower(v_item), '^(\*|[0-9]{1,4}|[a-z]{3})(?:-([0-9]{1,4}|[a-z]{3}))?(?:/([0-9]{1,4}))?$');
    v_wrong := NULL;
    IF v_parts IS NULL OR v_parts[1] = '*' AND v_parts[2] IS NOT NULL THEN
      v_wrong := 'cannot be read';
    ELSIF v_parts[1] = '*' THEN
      v_from := low;
      v_to := high;
    ELSIF v_parts[3] IS NOT NULL AND v_parts[2] IS NULL THEN
      v_wrong := 'a step needs a range or *';
    ELSE
      v_parts[2] := coalesce(v_parts[2], v_parts[1]);
      v_from := CASE WHEN v_parts[1] ~ '^[0-9]' THEN v_parts[1]::int ELSE low - 1 + array_position(names, v_parts[1]) END;
      v_to := CASE WHEN v_parts[2] ~ '^[0-9]' THEN v_parts[2]::int ELSE low - 1 + array_position(names, v_parts[2]) END;
      v_wrong := CASE
        WHEN v_from IS NULL OR v_to IS NULL THEN 'cannot be read'
        WHEN least(v_from, v_to) < low OR greatest(v_from, v_to) > high THEN format('must be from %s to %s', low, high)
        WHEN v_to < v_from THEN 'the range runs backwards'
      END;
    END IF;
    v_step := coalesce(v_parts[3]::int, 1);
    IF v_wrong IS NULL AND v_step NOT BETWEEN 1 AND high THEN
      v_wrong := format('the step must be from 1 to %s', high);
    END IF;
    IF v_wrong IS NOT NULL THEN
      RAISE EXCEPTION 'cron: % %: %', field, quote_literal(v_item), v_wrong USING ERRCODE = '22023';
    END IF;
    v_values := v_values || ARRAY(SELECT generate_series(v_from, v_to, v_step));
  END LOOP;
  RETURN v_values;
END
$$;

-- Callers: create_schedule. Raises 22023 for what no timer would read.
CREATE OR REPLACE FUNCTION check_cron(cron text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
  v_fields text[] := regexp_split_to_array(btrim(cron, ' '), ' +');
  v_days int[];
  v_months int[];
BEGIN
  PERFORM check_name('cron', cron);
  IF cardinality(v_fields) = 1 AND v_fields[1] ^@ '@' THEN
    IF lower(v_fields[1]) NOT IN ('@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly') THEN
      RAISE EXCEPTION 'cron: there is no %', v_fields[1] USING ERRCODE = '22023';
    END IF;
    RETURN;
  ELSIF cardinality(v_fields) <> 5 THEN
    RAISE EXCEPTION 'cron: must have 5 fields (minute hour day-of-month month day-of-week), has %', cardinality(v_fields)
      USING ERRCODE = '22023';
  END IF;
  PERFORM cron_field('minute', v_fields[1], 0, 59, '{}'), cron_field('hour', v_fields[2], 0, 23, '{}');
  v_days := cron_field('day of month', v_fields[3], 1, 31, '{}');
  v_months := cron_field('month', v_fields[4], 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
  PERFORM cron_field('day of week', v_fields[5], 0, 7, '{sun,mon,tue,wed,thu,fri,sat}');
  IF (v_fields[3] ^@ '*' OR v_fields[5] ^@ '*')
     AND NOT EXISTS (SELECT FROM unnest(v_days) d, unnest(v_months) m
                      WHERE d <= ('{31,29,31,30,31,30,31,31,30,31,30,31}'::int[])[m]) THEN
    RAISE EXCEPTION 'cron: there is no such day in any year' USING ERRCODE = '22023';
  END IF;
END
$$;

-- check_length: 22023 for an interval that has no fixed length (months), or is not in the range.
-- Callers: create_schedule.
CREATE OR REPLACE FUNCTION check_length(argument text, length interval, low interval, high interval)
RETURNS void
LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
  IF length IS NULL THEN
    RAISE EXCEPTION '%: must not be NULL', argument USING ERRCODE = '22023';
  ELSIF extract(year FROM length) <> 0 OR extract(month FROM length) <> 0 THEN
    RAISE EXCEPTION '%: months have no fixed length', argument USING ERRCODE = '22023';
  ELSIF length NOT BETWEEN low AND high THEN
    RAISE EXCEPTION '%: must be from % to %', argument, low, high USING ERRCODE = '22023';
  END IF;
END
$$;
