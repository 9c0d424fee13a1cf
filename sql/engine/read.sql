-- read: the shapes in which runs get their rows.
--
-- STABLE, so that inside a look they read with the very snapshot of that statement; and plpgsql, so that their plans
-- are kept (a set-reading SQL function is planned anew in every statement that calls it).

-- unseen_inbox: [[id, kind, op, name, data, metadata, message_id], ..] in id order, the first `most` nobody has read.
-- Callers: commit_runs. Index: inbox_pkey. Locks: none.
CREATE OR REPLACE FUNCTION unseen_inbox(instance_id text, most int)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS
$$
BEGIN
  RETURN (
    SELECT coalesce(
             jsonb_agg(jsonb_build_array(b.id, b.kind, b.op, b.name, b.data, b.metadata, b.message_id) ORDER BY b.id),
             '[]')
      FROM (SELECT u.*
              FROM inbox u
             WHERE u.instance_id = $1
               AND NOT u.seen
             ORDER BY u.id
             LIMIT $2) b);
END
$$;

-- read_history: [[seq, op, kind, name, data], ..] in seq order.
-- Callers: resumer. Index: pk of history. Locks: none.
CREATE OR REPLACE FUNCTION read_history(instance_id text)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS
$$
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(jsonb_build_array(h.seq, h.op, h.kind, h.name, h.data) ORDER BY h.seq), '[]')
      FROM history h
     WHERE h.instance_id = $1);
END
$$;

-- read_seen: messages of one channel that an earlier run left behind, as inbox rows, after after_id. NULL when
-- (session, token) does not hold the lease. Decision 19: a receive looks here before it registers its wait.
-- Callers: resumer. Index: pk of instances, inbox_pkey. Locks: none; only the holder of the lease changes seen rows.
CREATE OR REPLACE FUNCTION read_seen(
  session_id bigint, instance_id text, lease_token bigint, channel text, after_id bigint, max int)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS
$$
BEGIN
  RETURN (
    SELECT coalesce(
             (SELECT jsonb_agg(jsonb_build_array(b.id, b.kind, b.op, b.name, b.data, b.metadata, b.message_id)
                               ORDER BY b.id)
                FROM (SELECT s.*
                        FROM inbox s
                       WHERE s.instance_id = $2
                         AND s.seen
                         AND s.id > $5
                         AND s.kind = 2
                         AND s.name = $4
                       ORDER BY s.id
                       LIMIT $6) b),
             '[]')
      FROM instances i
     WHERE i.instance_id = $2
       AND i.session_id = $1
       AND i.lease_token = $3);
END
$$;
