-- hint: the one door for notifications. A hint carries nothing that is not in a table, and leaves with the commit.
-- These are single expressions in SQL, so that the planner folds them into the statements that call them; that needs a
-- volatility no stricter than that of what they call (plans_test.cpp looks for calls that were not folded).
--
-- Callers: every function that makes work. Channel: <schema>_<kind>. Index, locks: none of ours; PostgreSQL holds the
-- notification queue's lock during the commit.
CREATE OR REPLACE FUNCTION hint(kind text, payload jsonb)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT pg_notify(current_schema() || '_' || kind, payload::text)
$$;

CREATE OR REPLACE FUNCTION hint_resumable(instance_id text, workflow_name text)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('workflow_resumable', jsonb_build_object('instance_id', instance_id, 'workflow_name', workflow_name))
$$;

-- Something came in for an instance that somebody holds. It names no instance_id, by which hubs choose one of a program's
-- processes: all of them hear it, and the one that holds it looks.
CREATE OR REPLACE FUNCTION hint_leased(instance_id text, workflow_name text)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('workflow_resumable', jsonb_build_object('leased_instance_id', instance_id, 'workflow_name', workflow_name))
$$;

-- A message was published: for observers; workers do not need it.
CREATE OR REPLACE FUNCTION hint_message(channel text, message_id bigint, target text, group_name text)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('channel_message', jsonb_strip_nulls(jsonb_build_object(
           'channel_name', channel,
           'message_id', message_id,
           'target_instance_id', target,
           'group_name', group_name)))
$$;

-- '<kind>:<op>', as hints and the timers view name a deadline.
CREATE OR REPLACE FUNCTION timer_id(kind smallint, op int)
RETURNS text
LANGUAGE sql STABLE AS
$$
  SELECT (ARRAY['sleep', 'timeout', 'retry', 'start_at', 'expiry'])[kind] || ':' || op
$$;

-- Its name on the channel is historical: the hint says that a timer was registered.
CREATE OR REPLACE FUNCTION hint_timer(instance_id text, kind smallint, op int, expires_at timestamptz)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('timer_expired', jsonb_build_object(
           'instance_id', instance_id,
           'timer_id', timer_id(kind, op),
           'expires_at', to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
$$;

-- A schedule is new, has changed, or may go on: timers look.
CREATE OR REPLACE FUNCTION hint_schedule(name text)
RETURNS void
LANGUAGE sql VOLATILE AS
$$
  SELECT hint('timer_expired', jsonb_build_object('timer_id', 'schedule:0', 'schedule', name))
$$;

-- Microseconds since 1970, the engine's unit for moments.
CREATE OR REPLACE FUNCTION unix_micros(moment timestamptz)
RETURNS bigint
LANGUAGE sql STABLE AS
$$
  SELECT (extract(epoch FROM moment) * 1000000)::bigint
$$;
