-- check_invariants: what must be true in every snapshot (docs/adr/0001). One statement, so one snapshot; STABLE,
-- so that it is the caller's. Empty: all is well. Tests sample it all the time; an operator may at any time.
-- It wants its sequential scans, also on a worker's connection, where their forbidding price would start the JIT.
-- Callers: tests, people. Index: none, it reads the hot tables whole. Locks: none.
CREATE OR REPLACE FUNCTION check_invariants()
RETURNS TABLE (invariant text, instance_id text, detail text)
LANGUAGE sql STABLE SET enable_seqscan = on SET jit = off AS
$$
  SELECT 'I1: an unread inbox row of an active instance implies a lease or a poke',
         i.instance_id,
         (SELECT count(*) || ' unread rows, status ' || i.status FROM inbox b
           WHERE b.instance_id = i.instance_id AND NOT b.seen)
    FROM instances i
   WHERE i.status IN (1, 6)
     AND i.session_id IS NULL
     AND EXISTS (SELECT FROM inbox b WHERE b.instance_id = i.instance_id AND NOT b.seen)
     AND i.instance_id NOT IN (SELECT p.instance_id FROM pokes p WHERE p.route_id <> 0)
  UNION ALL
  SELECT 'I2: a lease implies a session', i.instance_id, 'session ' || i.session_id
    FROM instances i
   WHERE i.session_id IS NOT NULL
     AND NOT EXISTS (SELECT FROM sessions s WHERE s.session_id = i.session_id)
  UNION ALL
  SELECT 'I3: a lease implies a row in the claim journal', i.instance_id, 'session ' || i.session_id
    FROM instances i
   WHERE i.session_id IS NOT NULL
     AND NOT EXISTS (SELECT FROM claims c WHERE c.session_id = i.session_id AND i.instance_id = ANY (c.ids))
  UNION ALL
  SELECT 'I4: what is finished or stuck has no lease', i.instance_id, 'session ' || i.session_id
    FROM instances i
   WHERE i.session_id IS NOT NULL
     AND i.status NOT IN (1, 6)
  UNION ALL
  SELECT 'I5: what is stuck is listed as stuck, and nothing else is', coalesce(i.instance_id, p.instance_id),
         coalesce('status ' || i.status, 'not stuck')
    FROM (SELECT * FROM instances WHERE status = 5) i
    FULL JOIN stuck p ON p.instance_id = i.instance_id
   WHERE i.instance_id IS NULL OR p.instance_id IS NULL
  UNION ALL
  SELECT 'I6: a queued message and a wait of one channel imply a channel poke', w.instance_id,
         'operation ' || w.op || ' waits on ' || w.channel
    FROM channel_waits w
   WHERE NOT w.parked
     AND EXISTS (SELECT FROM channel_queue q WHERE q.channel = w.channel)
     AND w.channel NOT IN (SELECT p.instance_id FROM pokes p WHERE p.route_id = 0)
  UNION ALL
  SELECT 'I7: a wait implies an active instance that subscribes, and is parked with it', w.instance_id,
         'operation ' || w.op || ' waits on ' || w.channel
    FROM channel_waits w
   WHERE NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = w.instance_id
                        AND i.status = ANY (CASE WHEN w.parked THEN '{5}' ELSE '{1,6}'::int[] END))
      OR NOT EXISTS (SELECT FROM subscriptions s WHERE s.channel = w.channel AND s.instance_id = w.instance_id)
  UNION ALL
  SELECT 'I9: a child and its parent are active', c.child_id, 'parent ' || c.parent_id
    FROM children c
   WHERE NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = c.child_id AND i.status IN (1, 5, 6))
      OR NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = c.parent_id AND i.status IN (1, 5, 6))
  UNION ALL
  SELECT 'I10: an inbox row of an instance that was removed implies a poke', b.instance_id, 'row ' || b.id
    FROM inbox b
   WHERE NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = b.instance_id)
     AND b.instance_id NOT IN (SELECT p.instance_id FROM pokes p WHERE p.route_id <> 0)
  UNION ALL
  SELECT 'I11: what is archived is listed, by generation, of instances that exist', a.instance_id, 'generation ' || a.generation
    FROM (SELECT DISTINCT h.instance_id, h.generation FROM history_archive h) a
   WHERE NOT EXISTS (SELECT FROM former_generations f WHERE f.instance_id = a.instance_id AND f.generation = a.generation)
      OR NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = a.instance_id)
  UNION ALL
  SELECT 'I12: a task that is wanted belongs to an active instance', t.instance_id, 'operation ' || t.op
    FROM tasks t
   WHERE t.wanted < 3
     AND NOT EXISTS (SELECT FROM task_stops s WHERE s.task_id = t.task_id)
     AND NOT EXISTS (SELECT FROM instances i WHERE i.instance_id = t.instance_id AND i.status IN (1, 5, 6))
  UNION ALL
  SELECT 'I13: the route of an instance is that of its version, also where it is listed as stuck', i.instance_id,
         'version ' || coalesce(i.version, '(none)')
    FROM instances i
   WHERE (SELECT r.version FROM routes r WHERE r.route_id = i.route_id LIMIT 1) <> coalesce(i.version, '')
      OR i.status = 5 AND (SELECT p.route_id FROM stuck p WHERE p.instance_id = i.instance_id) <> i.route_id
  UNION ALL
  SELECT 'I14: no more run in a queue than it allows, of those that began since that was set', s.queue, s.taken || ' of ' || s.allowed
    FROM (SELECT q.name AS queue, count(*) AS taken, q.concurrency AS allowed
            FROM queues q
            JOIN slots o ON o.queue = q.name AND o.taken_at > q.changed_at
            JOIN instances i ON i.instance_id = o.instance_id AND i.session_id = o.session_id AND i.lease_token = o.lease_token
           GROUP BY q.name
           UNION ALL
          SELECT q.name || ', key ' || o.key, count(*), q.key_concurrency
            FROM queues q
            JOIN slots o ON o.queue = q.name AND o.taken_at > q.changed_at
            JOIN instances i ON i.instance_id = o.instance_id AND i.session_id = o.session_id AND i.lease_token = o.lease_token
           WHERE o.key <> ''
           GROUP BY q.name, o.key) s
   WHERE s.taken > s.allowed
  UNION ALL
  SELECT 'I8: a message that has to be sent on implies a channel poke', m.channel, 'message ' || m.message_id
    FROM (SELECT d.channel, d.message_id FROM deferred_messages d
          UNION ALL
          SELECT q.channel, q.message_id FROM channel_queue q
           WHERE NOT EXISTS (SELECT FROM competing_channels c WHERE c.channel = q.channel)) m
   WHERE m.channel NOT IN (SELECT p.instance_id FROM pokes p WHERE p.route_id = 0)
$$;
