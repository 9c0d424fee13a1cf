-- 0001: the tables. Locks: none that anybody holds, everything here is new. Takes milliseconds.
--
-- Applied once, by `romancy migrate`, in one transaction, with search_path = the schema. Names are unqualified: the
-- schema's name is the operator's choice. Functions, views and grants are not here: they are in sql/engine and sql/api
-- and are made anew whenever their text changes.
--
-- The numbers of kinds and statuses are those of resumer/events.hpp; tests/pg checks that they agree.

CREATE TABLE schema_version (
  version        int         NOT NULL,
  oldest_program int         NOT NULL,  -- programs that know less than this version must not run on it
  applied_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  code_digest    text,                  -- of the engine and api texts last made at this version
  CONSTRAINT schema_version_pkey PRIMARY KEY (version)
);

-- What a worker can serve: a claim names its routes, so it never takes work its process cannot run. A route's id is
-- computed from its names (route_id); this is the dictionary that leads back. Two rows say no more than one: a unique
-- index would let a worker wait for the application that was the first to name a workflow and is still busy. There are
-- never more rows a route than transactions that were open when the first of them committed.
-- version: of the instances that are pinned to it (docs/adr/0012); '': of those that are not.
CREATE TABLE routes (
  route_id      bigint NOT NULL,
  queue         text   NOT NULL,
  workflow_name text   NOT NULL,
  version       text   NOT NULL DEFAULT ''
);
CREATE INDEX routes_id ON routes (route_id);
CREATE INDEX routes_queue ON routes (queue);

-- Versions whose workers take no instance that is not pinned to them.
CREATE TABLE draining_versions (
  version text        NOT NULL,
  since   timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT draining_versions_pkey PRIMARY KEY (version)
);

-- One row a living worker process. Leases belong to sessions, so one update renews them all.
-- fillfactor: heartbeats stay on their page; no index holds expires_at, so they are heap-only.
CREATE TABLE sessions (
  session_id bigint      NOT NULL,  -- random, chosen by the worker: half of the fence, so never to be used twice
  worker     text        NOT NULL,
  kind       text        NOT NULL,
  routes     bigint[]    NOT NULL,
  version    text,                  -- of the worker's code, if it has one
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  CONSTRAINT sessions_pkey PRIMARY KEY (session_id),
  CONSTRAINT sessions_kind_check CHECK (kind IN ('resumer', 'relay', 'timer'))
) WITH (fillfactor = 50);

-- The hot table: narrow, half-filled pages, and no index on anything a run changes (an index on the owner would make
-- every claim and release write every index; the claim journal finds a session's instances instead).
CREATE TABLE instances (
  instance_id  text        NOT NULL,
  route_id     bigint      NOT NULL,
  lane         text COLLATE "C" NOT NULL,       -- priority and key: see lane_of
  status       smallint    NOT NULL DEFAULT 1,  -- 1 running 2 completed 3 failed 4 cancelled 5 stuck 6 compensating
                                                -- (a commit says 7 for "continues as new", and 1 is stored)
  session_id   bigint,                          -- who holds the lease; only a commit that looked may clear it bare
  last_session bigint,                          -- who let it go last: its memory may still hold the history
  lease_token  bigint      NOT NULL DEFAULT 0,  -- with session_id the fence of every write of a run
  generation   int         NOT NULL DEFAULT 0,  -- counted up by continue-as-new
  first_generation int     NOT NULL DEFAULT 0,  -- the number it began with: see lives
  version      text,                            -- of the code this generation is pinned to, as the route says too
  note         text,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at  timestamptz,
  CONSTRAINT instances_pkey PRIMARY KEY (instance_id)
) WITH (fillfactor = 50);
-- For retention. A run changes neither column before its end, so what it does meanwhile stays heap-only.
CREATE INDEX instances_over ON instances (status, finished_at) WHERE finished_at IS NOT NULL;

-- The number of generation that whoever starts now begins with: higher than any generation that was removed (new_life,
-- remove_instances). A removed instance's id may be used again, and nothing remembers it; but keys of activities, ids of
-- events and children, and the fence are made of id and generation, and must not come again.
CREATE SEQUENCE lives AS int MINVALUE 0;

-- Parked instances (status 5), so that a new session finds those of its routes without reading all instances.
CREATE TABLE stuck (
  instance_id text   NOT NULL,
  route_id    bigint NOT NULL,
  CONSTRAINT stuck_pkey PRIMARY KEY (instance_id)
);
CREATE INDEX stuck_route ON stuck (route_id);

-- The claim journal: one row a claim batch. A lease implies a row here; a row does not imply a lease.
CREATE TABLE claims (
  id         bigint GENERATED ALWAYS AS IDENTITY,
  session_id bigint NOT NULL,
  ids        text[] NOT NULL
);
CREATE INDEX claims_session ON claims (session_id);

-- Everything that happens *to* an instance. Rows are written by whoever caused them and consumed by the run.
-- No foreign key to instances: its row lock would let an open application transaction hold up claims.
CREATE TABLE inbox (
  instance_id text        NOT NULL,
  seen        boolean     NOT NULL DEFAULT false,  -- a run looked at it and left it: it wakes nobody any more
  id          bigint      GENERATED ALWAYS AS IDENTITY,
  kind        smallint    NOT NULL,  -- 1 start 2 message 3 timer 4 timeout 5 retry 6 cancel 7 recover 8 expired
                                     -- 9 refused 10 compensate 11 child_ended 12 task_ended
  op          int         NOT NULL DEFAULT 0,  -- of a message: not 0 when it came from a competing channel; of a
                                               -- start: the generation it begins, others pay no heed to it
  name        text,
  data        jsonb,
  metadata    jsonb,
  message_id  bigint,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT inbox_pkey PRIMARY KEY (instance_id, seen, id)
);
CREATE SEQUENCE message_ids;

-- The ready queue: "look at this instance", no more. Appended with every inbox row, never unique, never updated.
-- xid: claims start at a low-water mark over it, which one old snapshot cannot hold back (docs/adr/0001).
-- Route 0 says "look at this channel": instance_id is the channel's name then (match_channels).
CREATE TABLE pokes (
  xid         xid8   NOT NULL DEFAULT pg_current_xact_id(),
  id          bigint GENERATED ALWAYS AS IDENTITY,
  route_id    bigint NOT NULL,
  lane        text COLLATE "C" NOT NULL,  -- its instance's when it was written; claims take from each (lane_of)
  instance_id text   NOT NULL
);
CREATE INDEX pokes_queue ON pokes (route_id, lane, xid, id);

-- Queues that somebody paused or limited; the others are not here (sql/engine/queues.sql). fillfactor: claims lock it.
CREATE TABLE queues (
  name            text        NOT NULL,
  paused          boolean     NOT NULL DEFAULT false,
  concurrency     int,                  -- at most so many at once; NULL: any number
  key_concurrency int,                  -- of each key
  rate            int,                  -- at most so many begin in each rate_period; NULL: any number
  rate_period     interval    NOT NULL DEFAULT '1 second',
  next_begin      timestamptz NOT NULL DEFAULT '-infinity',  -- when the next one may, by the rate
  changed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT queues_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50);

-- Who runs in a queue with a limit. A row counts while the instance has that very lease, so that one left behind by whatever
-- happened is no more than a row to delete.
CREATE TABLE slots (
  queue       text        NOT NULL,
  key         text        NOT NULL,
  instance_id text        NOT NULL,
  session_id  bigint      NOT NULL,
  lease_token bigint      NOT NULL,
  taken_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX slots_queue ON slots (queue, key);
CREATE INDEX slots_instance ON slots (instance_id);

-- What a run did and was told. The primary key is a second fence: no two runs write the same seq.
CREATE TABLE history (
  instance_id text        NOT NULL,
  seq         bigint      NOT NULL,  -- 1, 2, 3 .. in the order of delivery
  op          int         NOT NULL,  -- operation number in program order
  kind        smallint    NOT NULL,
  name        text,
  data        jsonb,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT history_pkey PRIMARY KEY (instance_id, seq)
);

-- The histories of generations that continued as new. Nothing reads it but people.
CREATE TABLE history_archive (
  instance_id text        NOT NULL,
  generation  int         NOT NULL,
  seq         bigint      NOT NULL,
  op          int         NOT NULL,
  kind        smallint    NOT NULL,
  name        text,
  data        jsonb,
  created_at  timestamptz NOT NULL,
  CONSTRAINT history_archive_pkey PRIMARY KEY (instance_id, generation, seq)
);

-- One row a generation in the archive, so that retention finds the old ones without an index over all of their rows.
CREATE TABLE former_generations (
  instance_id text        NOT NULL,
  generation  int         NOT NULL,
  ended_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT former_generations_pkey PRIMARY KEY (instance_id, generation)
);
CREATE INDEX former_generations_ended ON former_generations (ended_at);

CREATE TABLE deadlines (
  instance_id text        NOT NULL,
  op          int         NOT NULL,
  kind        smallint    NOT NULL,  -- 1 sleep 2 timeout 3 retry 4 start_at 5 expiry
  expires_at  timestamptz NOT NULL,
  data        jsonb,                 -- start_at: the input
  CONSTRAINT deadlines_pkey PRIMARY KEY (instance_id, op)
);
CREATE INDEX deadlines_due ON deadlines (expires_at);

CREATE TABLE subscriptions (
  channel     text NOT NULL,
  instance_id text NOT NULL,
  CONSTRAINT subscriptions_pkey PRIMARY KEY (channel, instance_id)
);
CREATE INDEX subscriptions_instance ON subscriptions (instance_id);

-- Channels of which one receiver gets each message. A channel that is not here is broadcast. Its subscriptions are in
-- the same table: a channel has one mode. Two rows say no more than one: a unique index would let a commit wait for the
-- application that declared the channel and is still busy.
CREATE TABLE competing_channels (
  channel text NOT NULL
);
CREATE INDEX competing_channels_channel ON competing_channels (channel);

-- Messages of competing channels that nobody has got yet.
CREATE TABLE channel_queue (
  channel    text        NOT NULL,
  message_id bigint      NOT NULL,
  data       jsonb,
  metadata   jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT channel_queue_pkey PRIMARY KEY (channel, message_id)
);

-- Receives that wait for a message of a competing channel, oldest first by id. Those of a stuck instance are parked with
-- it: in a column, and not by a look at the instance, so that a matcher which sees the row change looks again.
CREATE TABLE channel_waits (
  instance_id text    NOT NULL,
  op          int     NOT NULL,
  channel     text    NOT NULL,
  parked      boolean NOT NULL DEFAULT false,
  id          bigint  GENERATED ALWAYS AS IDENTITY,
  CONSTRAINT channel_waits_pkey PRIMARY KEY (instance_id, op)
);
CREATE INDEX channel_waits_queue ON channel_waits (channel, id) WHERE NOT parked;

-- What was published under a snapshot that may be too old to see who is to get it: sent on by the next claim.
CREATE TABLE deferred_messages (
  channel    text        NOT NULL,
  message_id bigint      NOT NULL,
  target     text,                  -- an instance, or
  group_name text,                  -- a group, or neither: the channel's subscribers
  data       jsonb,
  metadata   jsonb,
  CONSTRAINT deferred_messages_pkey PRIMARY KEY (channel, message_id)
);

CREATE TABLE group_members (
  group_name  text NOT NULL,
  instance_id text NOT NULL,
  CONSTRAINT group_members_pkey PRIMARY KEY (group_name, instance_id)
);
CREATE INDEX group_members_instance ON group_members (instance_id);

CREATE TABLE outbox (
  event_id        text        NOT NULL,
  seq             bigint      GENERATED ALWAYS AS IDENTITY,
  event_type      text        NOT NULL,
  event_source    text        NOT NULL,
  data            jsonb,
  content_type    text        NOT NULL,
  status          smallint    NOT NULL DEFAULT 1,  -- 1 pending 2 delivered 3 failed
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  session_id      bigint,                          -- the relay that has it in hand
  attempt         int         NOT NULL DEFAULT 0,  -- with session_id the fence of complete and fail
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  delivered_at    timestamptz,
  last_error      text,
  CONSTRAINT outbox_pkey PRIMARY KEY (event_id)
);
-- By due time, not by seq: events that wait for a retry must not be read past by every claim.
CREATE INDEX outbox_due ON outbox (next_attempt_at, seq) WHERE status = 1;
CREATE INDEX outbox_held ON outbox (session_id) WHERE session_id IS NOT NULL;
-- For retention: when it was delivered, or given up.
CREATE INDEX outbox_over ON outbox (status, coalesce(delivered_at, next_attempt_at)) WHERE status <> 1;

-- Instances that instances started, exactly while both are active (end_children).
CREATE TABLE children (
  child_id  text    NOT NULL,
  parent_id text    NOT NULL,
  op        int     NOT NULL,  -- the parent's operation that waits for the end; 0: none any more, the parent recurred
  follows   boolean NOT NULL,  -- it is cancelled when its parent ends
  CONSTRAINT children_pkey PRIMARY KEY (child_id)
);
CREATE INDEX children_parent ON children (parent_id);

-- When workflows are started. A tick is a moment that a schedule names; due_at is when somebody has to see to the next one.
-- Timers compute ticks (common/cron), so a new schedule has none yet: due_at is then the moment it was made.
CREATE TABLE schedules (
  name             text        NOT NULL,
  workflow_name    text        NOT NULL,
  queue            text        NOT NULL,
  input            jsonb       NOT NULL,
  cron             text,
  every            interval,
  time_zone        text        NOT NULL,
  jitter           interval    NOT NULL,
  overlap          text        NOT NULL,
  catch_up         interval    NOT NULL,
  paused           boolean     NOT NULL DEFAULT false,
  version          bigint      NOT NULL,  -- from schedule_versions: another one whenever somebody changed the schedule
  planned_from     timestamptz NOT NULL,  -- ticks up to here are nobody's business
  next_tick        timestamptz,           -- the first one nobody has seen to; NULL: not computed yet
  due_at           timestamptz,           -- next_tick and its jitter; NULL: paused
  queued_tick      timestamptz,           -- it waits for last_instance_id to end
  last_tick        timestamptz,
  last_instance_id text,                  -- what the last tick that started one started
  started          bigint      NOT NULL DEFAULT 0,
  overlapped       bigint      NOT NULL DEFAULT 0,  -- ticks that started nothing because of the instance before
  missed           bigint      NOT NULL DEFAULT 0,  -- ticks that were too late, or could not be started
  note             text,
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT schedules_pkey PRIMARY KEY (name),
  CONSTRAINT schedules_rule_check CHECK ((cron IS NULL) <> (every IS NULL)),
  CONSTRAINT schedules_paused_check CHECK (paused = (due_at IS NULL)),
  CONSTRAINT schedules_overlap_check CHECK (overlap IN ('skip', 'allow', 'cancel_other', 'queue_one'))
) WITH (fillfactor = 50);
CREATE INDEX schedules_due ON schedules (due_at);
CREATE INDEX schedules_queued ON schedules (last_instance_id) WHERE queued_tick IS NOT NULL;
CREATE SEQUENCE schedule_versions;

-- What the code of an instance last said of itself (ctx.set_status), while it runs and after. Apart, because the hot row
-- shall stay narrow.
CREATE TABLE progress (
  instance_id text        NOT NULL,
  value       jsonb       NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT progress_pkey PRIMARY KEY (instance_id)
) WITH (fillfactor = 50);

-- Instances somebody waits for: whoever ends one deletes its row and says so (await_workflow).
CREATE TABLE result_waits (
  instance_id text NOT NULL,
  xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT result_waits_pkey PRIMARY KEY (instance_id)
);
-- Queued activities that have not ended (sql/engine/tasks.sql). One that is held and whose lease is over is due like any
-- other: due_at says both, so that a claim asks one index. fillfactor: heartbeats.
CREATE TABLE tasks (
  task_id     bigint      GENERATED ALWAYS AS IDENTITY,
  instance_id text        NOT NULL,
  op          int         NOT NULL,
  generation  int         NOT NULL,
  queue       text        NOT NULL,
  lane        text COLLATE "C" NOT NULL DEFAULT '5',  -- its instance's (lane_of)
  activity    text        NOT NULL,
  input       jsonb,
  key         text        NOT NULL,            -- the idempotency key, the same for all attempts
  policy      jsonb       NOT NULL,            -- retry and times, as task_pause() reads them
  wanted      smallint    NOT NULL DEFAULT 1,  -- 1 yes 2 shall stop, but its result is recorded 3 by nobody any more
  attempt     int         NOT NULL DEFAULT 0,  -- the one under way, or the last
  due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),  -- of one that is held: the end of its lease
  watched     boolean     NOT NULL DEFAULT false,  -- due_at is ahead, and the timer has to see it come
  token       bigint,                          -- of the claim: the fence of whoever holds it. NULL: nobody does
  worker      text,
  lease       interval,
  first_at    timestamptz,                     -- when the first attempt began
  attempt_at  timestamptz,                     -- and this one
  details     jsonb,                           -- of the last heartbeat that had some, of whichever attempt
  last_error  jsonb,                           -- {"type", "message", "attempt"}
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT tasks_pkey PRIMARY KEY (task_id)
) WITH (fillfactor = 50);
CREATE INDEX tasks_due ON tasks (queue, lane, due_at, task_id);
CREATE INDEX tasks_held ON tasks (queue, due_at, lane) WHERE token IS NOT NULL;
CREATE INDEX tasks_watched ON tasks (due_at) WHERE watched;
CREATE INDEX tasks_instance ON tasks (instance_id, op);

-- Tasks a run took back. A row of its own, because the task may be locked by an application that is completing it in a
-- transaction of its own, for which no worker waits (apply_task_stops).
CREATE TABLE task_stops (
  task_id bigint  NOT NULL,
  wanted  boolean NOT NULL  -- its result is to be recorded all the same
);
CREATE INDEX task_stops_task ON task_stops (task_id);

-- Queues turn over completely: vacuum by count, at once, at full speed; and never truncate, because truncation takes
-- an exclusive lock.
ALTER TABLE pokes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE inbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE claims SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE deadlines SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE channel_queue SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE channel_waits SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE deferred_messages SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE children SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE schedules SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE result_waits SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE progress SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE tasks SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE task_stops SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE queues SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE slots SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
ALTER TABLE instances SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE former_generations SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

INSERT INTO schema_version (version, oldest_program) VALUES (1, 1);
