-- fire_timers: due deadlines leave their table, enter the inbox and poke, in one statement.
--
-- A deadline of a finished or deleted instance just goes: it revives nothing. One that a commit is deleting at this
-- moment is skipped; and when we were first, its timer row in the inbox is one the run ignores.
-- Callers: timer. Returns what was taken, with its lateness. Commit: asynchronous (lost: the deadline is back; a commit
-- that consumed the row has flushed this one too).
-- Index: deadlines_due. Locks: the due rows (skip locked).
CREATE OR REPLACE FUNCTION fire_timers(kinds smallint[], max int)
RETURNS TABLE (instance_id text, timer_id text, late_us bigint)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  v_clock timestamptz := clock_timestamp();  -- in a variable: a volatile call cannot be an index condition
BEGIN
  PERFORM need_read_committed('fire_timers');
  PERFORM set_config('synchronous_commit', 'off', true);
  RETURN QUERY
  WITH due AS (
    DELETE FROM deadlines
     WHERE ctid = ANY (ARRAY(SELECT d.ctid
                               FROM deadlines d
                              WHERE d.expires_at <= v_clock
                                AND d.kind = ANY ($1)
                              ORDER BY d.expires_at
                              LIMIT $2
                                FOR UPDATE SKIP LOCKED))
    RETURNING instance_id, op, kind, expires_at, data),
  target AS (
    SELECT d.*, active.route_id, active.lane, active.generation,
           (SELECT r.workflow_name FROM routes r WHERE r.route_id = active.route_id LIMIT 1) AS workflow_name
      FROM due d
      LEFT JOIN LATERAL (SELECT i.route_id, i.lane, i.generation
                           FROM instances i
                          WHERE i.instance_id = d.instance_id
                            AND i.status IN (1, 5, 6)
                         OFFSET 0) active ON true),
  told AS (
    INSERT INTO inbox (instance_id, kind, op, data)
    SELECT t.instance_id, (ARRAY[3, 4, 5, 1, 8])[t.kind], CASE WHEN t.kind = 4 THEN t.generation ELSE t.op END, t.data
      FROM target t
     WHERE t.route_id IS NOT NULL
     ORDER BY t.expires_at),
  poked AS (
    INSERT INTO pokes (route_id, lane, instance_id)
    SELECT t.route_id, t.lane, t.instance_id
      FROM target t
     WHERE t.route_id IS NOT NULL
     ORDER BY t.expires_at),
  hinted AS (
    SELECT count(hint_resumable(t.instance_id, t.workflow_name)) AS hints
      FROM target t
     WHERE t.route_id IS NOT NULL)
  SELECT t.instance_id, timer_id(t.kind, t.op), unix_micros(v_clock) - unix_micros(t.expires_at)
    FROM target t, hinted
   WHERE hinted.hints >= 0
   ORDER BY t.expires_at;
END
$$;

-- next_timer: microseconds until the earliest deadline of these kinds; negative when it is late, NULL when none.
-- Callers: timer. Index: deadlines_due. Locks: none.
CREATE OR REPLACE FUNCTION next_timer(kinds smallint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN (
    SELECT unix_micros(d.expires_at) - unix_micros(clock_timestamp())
      FROM deadlines d
     WHERE d.kind = ANY ($1)
     ORDER BY d.expires_at
     LIMIT 1);
END
$$;
