-- views: what applications and people may read. Dropped and made again with every change, so nothing may depend on them
-- but queries. The names of kinds and statuses are those of resumer/events.hpp; tests/pg checks that they agree.
--
-- Columns that cost a look elsewhere (input, output, error, progress, names) are scalar subqueries: not selected, not computed;
-- and a name that stands twice in routes does not double a row.

DROP VIEW IF EXISTS workflow_instances, workflow_history, workflow_history_archive, workflow_groups, workflow_children, activity_tasks, channels,
  timers, outbox_events, workers, worker_versions, workflow_schedules, workflow_queues, workflow_statistics, activity_statistics;

-- Index for one instance: pk of instances, pk of history, routes_id. For a list: none but routes_id.
CREATE VIEW workflow_instances AS
SELECT i.instance_id,
       (SELECT r.workflow_name FROM routes r WHERE r.route_id = i.route_id LIMIT 1) AS workflow_name,
       (SELECT r.queue FROM routes r WHERE r.route_id = i.route_id LIMIT 1) AS queue,
       (ARRAY['running', 'completed', 'failed', 'cancelled', 'stuck', 'compensating'])[i.status] AS status,
       coalesce((SELECT h.data FROM history h WHERE h.instance_id = i.instance_id AND h.seq = 1 AND h.kind = 1),
                (SELECT b.data FROM inbox b WHERE b.instance_id = i.instance_id AND NOT b.seen AND b.kind = 1
                    AND b.op = i.generation LIMIT 1),
                (SELECT d.data FROM deadlines d WHERE d.instance_id = i.instance_id AND d.op = 0 AND d.kind = 4))
         AS input,
       CASE WHEN i.status = 2
            THEN (SELECT h.data FROM history h WHERE h.instance_id = i.instance_id ORDER BY h.seq DESC LIMIT 1)
       END AS output,
       CASE WHEN i.status IN (3, 4)
            THEN (SELECT h.data FROM history h WHERE h.instance_id = i.instance_id ORDER BY h.seq DESC LIMIT 1)
       END AS error,
       i.note,
       (SELECT p.value FROM progress p WHERE p.instance_id = i.instance_id) AS progress,
       5 - left(i.lane, 1)::int AS priority,
       nullif(substr(i.lane, 2), '') AS key,
       i.generation - i.first_generation AS generation,
       i.first_generation,
       i.version,
       (SELECT s.worker FROM sessions s WHERE s.session_id = i.session_id) AS worker,
       i.created_at,
       i.finished_at
  FROM instances i;

CREATE OR REPLACE FUNCTION history_kind(kind smallint)
RETURNS text
LANGUAGE sql IMMUTABLE AS
$$
  SELECT (ARRAY['started', 'activity_completed', 'activity_failed', 'activity_retry', 'timer_started', 'timer_fired',
                'wait_started', 'message_received', 'wait_timed_out', 'subscribed', 'unsubscribed', 'published',
                'event_sent', 'side_effect', 'cancel_requested', 'completed', 'failed', 'cancelled', 'recurred',
                'joined', 'left', 'subscription_refused', 'compensation_decided', 'child_started', 'child_completed',
                'child_failed', 'start_sent', 'cancel_sent', 'patched', 'activity_queued'])[kind]
$$;

-- Of the present generation. Index for one instance: pk of history.
CREATE VIEW workflow_history AS
SELECT h.instance_id, h.seq, h.op, history_kind(h.kind) AS kind, h.name, h.data, h.created_at
  FROM history h;

-- Of the generations that continued as new. Index for one instance: pk of history_archive.
CREATE VIEW workflow_history_archive AS
SELECT h.instance_id,
       h.generation - (SELECT i.first_generation FROM instances i WHERE i.instance_id = h.instance_id) AS generation,
       h.seq, h.op, history_kind(h.kind) AS kind, h.name, h.data, h.created_at
  FROM history_archive h;

-- Index for one group: pk of group_members; for one instance: group_members_instance.
CREATE VIEW workflow_groups AS
SELECT m.group_name, m.instance_id
  FROM group_members m;

-- Children, while they and their parents are active. follows: cancelled when the parent ends.
-- Index for one parent: children_parent; for one child: pk of children.
CREATE VIEW workflow_children AS
SELECT c.parent_id, c.child_id AS instance_id, c.follows
  FROM children c;

-- Queued activities that have not ended. status: waiting (for its due_at, then for somebody), held (until due_at, unless a
-- heartbeat comes), cancelling (whoever holds it is told to stop). Index for one instance: tasks_instance; for one queue:
-- tasks_due.
CREATE VIEW activity_tasks AS
SELECT t.task_id,
       t.instance_id,
       t.op,
       t.activity,
       t.queue,
       CASE WHEN t.token IS NULL THEN 'waiting' WHEN t.wanted > 1 THEN 'cancelling' ELSE 'held' END AS status,
       t.attempt,
       t.worker,
       t.due_at,
       t.details,
       t.last_error,
       t.created_at
  FROM tasks t;

-- Channels that somebody subscribes to, or that are competing. queued: messages nobody has got yet; waiting: receives
-- that wait for one (not those of stuck instances). Index for one channel: pk of each of the tables, and channel_waits_queue.
CREATE VIEW channels AS
SELECT c.channel,
       CASE WHEN EXISTS (SELECT FROM competing_channels x WHERE x.channel = c.channel)
            THEN 'competing' ELSE 'broadcast' END AS mode,
       (SELECT count(*) FROM subscriptions s WHERE s.channel = c.channel) AS subscribers,
       (SELECT count(*) FROM channel_waits w WHERE w.channel = c.channel AND NOT w.parked) AS waiting,
       (SELECT count(*) FROM channel_queue q WHERE q.channel = c.channel) AS queued
  FROM (SELECT s.channel FROM subscriptions s UNION SELECT x.channel FROM competing_channels x) c;

-- A start_at that a cancellation has overtaken decides nothing any more; its row stays until it is due or the instance
-- ends, because cancel_workflow only reads it. The start that was told is in the inbox, or in history.
-- Index for one instance: pk of deadlines, inbox_pkey, pk of history.
CREATE VIEW timers AS
SELECT d.instance_id,
       (ARRAY['sleep', 'timeout', 'retry', 'start_at', 'expiry'])[d.kind] || ':' || d.op AS timer_id,
       (ARRAY['sleep', 'timeout', 'retry', 'start_at', 'expiry'])[d.kind] AS kind,
       d.expires_at
  FROM deadlines d
 WHERE d.kind <> 4
    OR NOT (EXISTS (SELECT FROM inbox b WHERE b.instance_id = d.instance_id AND NOT b.seen AND b.kind = 1)
            OR EXISTS (SELECT FROM history h WHERE h.instance_id = d.instance_id AND h.seq = 1));

-- Index for one event: pk of outbox.
CREATE VIEW outbox_events AS
SELECT o.event_id,
       o.event_type,
       o.event_source,
       o.data,
       o.content_type,
       (ARRAY['pending', 'delivered', 'failed'])[o.status] AS status,
       o.created_at,
       o.attempt,
       o.next_attempt_at,
       o.delivered_at,
       o.last_error
  FROM outbox o;

-- workflows: '<queue>/<workflow_name>'. version: of its code, if it has one; draining: it takes only what is pinned to that.
-- leases: found through the claim journal, so instances are not read whole.
CREATE VIEW workers AS
SELECT s.session_id,
       s.worker,
       s.kind,
       ARRAY(SELECT n.queue || '/' || n.workflow_name
               FROM (SELECT DISTINCT r.queue, r.workflow_name FROM routes r WHERE r.route_id = ANY (s.routes)) n
              ORDER BY n.queue, n.workflow_name) AS workflows,
       s.version,
       EXISTS (SELECT FROM draining_versions d WHERE d.version = s.version) AS draining,
       s.started_at,
       s.expires_at,
       (SELECT count(*)
          FROM instances i
         WHERE i.instance_id = ANY (ARRAY(SELECT unnest(c.ids) FROM claims c WHERE c.session_id = s.session_id))
           AND i.session_id = s.session_id) AS leases
  FROM sessions s;

-- Versions that somebody runs, that active instances are pinned to, or that drain. workers: living ones; instances: active
-- ones (running, compensating or stuck) that are pinned to it; draining_since: NULL: it does not drain.
-- Index: none, it reads instances whole.
CREATE VIEW worker_versions AS
SELECT v.version,
       (SELECT count(*) FROM sessions s WHERE s.version = v.version) AS workers,
       coalesce(max(v.instances), 0) AS instances,
       (SELECT d.since FROM draining_versions d WHERE d.version = v.version) AS draining_since
  FROM (SELECT i.version, count(*) AS instances
          FROM instances i
         WHERE i.version IS NOT NULL AND i.status IN (1, 5, 6)
         GROUP BY i.version
        UNION ALL
        SELECT s.version, 0 FROM sessions s WHERE s.version IS NOT NULL
        UNION ALL
        SELECT d.version, 0 FROM draining_versions d) v
 GROUP BY v.version;

-- next_tick: NULL when it is paused, or when no timer has seen it yet. last_status: of last_instance_id; NULL when that was
-- removed. Index for one schedule: pk of schedules, pk of instances.
CREATE VIEW workflow_schedules AS
SELECT s.name,
       s.workflow_name,
       s.queue,
       s.input,
       s.cron,
       s.every,
       s.time_zone,
       s.jitter,
       s.overlap,
       s.catch_up,
       s.paused,
       s.next_tick,
       s.queued_tick,
       s.last_tick,
       s.last_instance_id,
       (SELECT (ARRAY['running', 'completed', 'failed', 'cancelled', 'stuck', 'compensating'])[i.status]
          FROM instances i
         WHERE i.instance_id = s.last_instance_id) AS last_status,
       s.started,
       s.overlapped,
       s.missed,
       s.note,
       s.created_at
  FROM schedules s;

-- How many instances of each workflow there are: active (not ended), and of these held (a worker has them), ready (somebody
-- ought to take them), waiting (for a timer, a message, a child ..) and stuck; and completed, failed, cancelled, until they
-- are removed. ready and held may be the same instance: something came in for one that is held.
-- Index: none but routes_id; instances and pokes are read whole, once.
CREATE VIEW workflow_statistics AS
SELECT r.queue,
       r.workflow_name,
       sum(c.active)::bigint AS active,
       sum(c.held)::bigint AS held,
       sum(c.ready)::bigint AS ready,
       sum(c.waiting)::bigint AS waiting,
       sum(c.stuck)::bigint AS stuck,
       sum(c.completed)::bigint AS completed,
       sum(c.failed)::bigint AS failed,
       sum(c.cancelled)::bigint AS cancelled
  FROM (SELECT i.route_id,
               count(*) FILTER (WHERE i.status IN (1, 5, 6)) AS active,
               count(*) FILTER (WHERE i.session_id IS NOT NULL) AS held,
               count(*) FILTER (WHERE i.status IN (1, 6) AND p.instance_id IS NOT NULL) AS ready,
               count(*) FILTER (WHERE i.status IN (1, 6) AND i.session_id IS NULL AND p.instance_id IS NULL) AS waiting,
               count(*) FILTER (WHERE i.status = 5) AS stuck,
               count(*) FILTER (WHERE i.status = 2) AS completed,
               count(*) FILTER (WHERE i.status = 3) AS failed,
               count(*) FILTER (WHERE i.status = 4) AS cancelled
          FROM instances i
          LEFT JOIN (SELECT DISTINCT p.instance_id FROM pokes p WHERE p.route_id <> 0) p ON p.instance_id = i.instance_id
         GROUP BY i.route_id) c
 CROSS JOIN LATERAL (SELECT n.queue, n.workflow_name FROM routes n WHERE n.route_id = c.route_id LIMIT 1) r
 GROUP BY r.queue, r.workflow_name;

-- Queued activities that have not ended, by queue and name; held: somebody carries them out. Index: none.
CREATE VIEW activity_statistics AS
SELECT t.queue,
       t.activity,
       count(*) FILTER (WHERE t.token IS NULL) AS waiting,
       count(*) FILTER (WHERE t.token IS NOT NULL) AS held
  FROM tasks t
 GROUP BY t.queue, t.activity;

-- Every queue that somebody has named. waiting: instances that have something to do and are in nobody's hand (one that several
-- things happened to counts once); running: those that a worker has in hand. Both cost a look at all pokes or all leases.
-- Index: routes_id, pokes_queue, pk of instances.
CREATE VIEW workflow_queues AS
SELECT n.queue,
       coalesce(q.paused, false) AS paused,
       q.concurrency,
       q.key_concurrency,
       q.rate,
       CASE WHEN q.rate IS NOT NULL THEN q.rate_period END AS rate_period,
       (SELECT count(DISTINCT p.instance_id)
          FROM pokes p
         WHERE p.route_id IN (SELECT r.route_id FROM routes r WHERE r.queue = n.queue)
           AND (SELECT i.session_id IS NULL AND i.status IN (1, 6) FROM instances i WHERE i.instance_id = p.instance_id))
         AS waiting,
       (SELECT count(*)
          FROM claims c
         CROSS JOIN LATERAL unnest(c.ids) x (id)
         CROSS JOIN LATERAL (SELECT i.route_id FROM instances i WHERE i.instance_id = x.id AND i.session_id = c.session_id OFFSET 0) i
         WHERE (SELECT r.queue FROM routes r WHERE r.route_id = i.route_id LIMIT 1) = n.queue) AS running
  FROM (SELECT r.queue FROM routes r UNION SELECT u.name FROM queues u) n
  LEFT JOIN queues q ON q.name = n.queue;
