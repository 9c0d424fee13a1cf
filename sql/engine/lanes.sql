-- lanes: in which order the instances of one workflow get their turn. A lane is a priority and a key, as one text that sorts:
-- a digit from '1' (priority 4) to '9' (priority -4), then the key. '5' is the lane of whoever asked for nothing. A poke of an
-- instance that must not begin yet, because of its queue's rate, stands in the lane 'r' and its own: there nobody has to take
-- it and put it back as long as nothing may begin.
--
-- A claim takes from every lane of the most urgent priority in turn, so that a flood on one key does not starve another, and
-- from the next priority only when the first has nothing left. There may be any number of lanes, and nobody lists them: they
-- are what the pokes say, found by jumping along the index from one to the next.

-- lane_of: 22023 for a priority or a key that cannot be.
-- Callers: start_workflow, start_children. Index, locks: none.
CREATE OR REPLACE FUNCTION lane_of(priority int, key text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
  IF priority IS NULL OR priority NOT BETWEEN -4 AND 4 THEN
    RAISE EXCEPTION 'priority: % is not in -4 .. 4', coalesce(priority::text, 'NULL') USING ERRCODE = '22023';
  END IF;
  IF key IS NOT NULL THEN
    PERFORM check_name('key', key);
  END IF;
  RETURN (5 - priority) || coalesce(key, '');
END
$$;

-- lanes_between: up to `most` lanes of this route that have pokes, in order; both ends and the default lane are left out, and
-- pokes below the mark.
-- Callers: open_lanes. Index: pokes_queue, one look a lane. Locks: none.
CREATE OR REPLACE FUNCTION lanes_between(route_id bigint, mark xid8, low text, high text, most int)
RETURNS text[]
LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
  RETURN ARRAY(
    WITH RECURSIVE found AS (
      SELECT (SELECT p.lane
                FROM pokes p
               WHERE p.route_id = $1 AND p.lane > $3 AND p.lane < $4 AND p.xid >= $2
               ORDER BY p.lane
               LIMIT 1) AS lane,
             1 AS n
       UNION ALL
      SELECT (SELECT p.lane
                FROM pokes p
               WHERE p.route_id = $1 AND p.lane > f.lane AND p.lane < $4 AND p.xid >= $2
               ORDER BY p.lane
               LIMIT 1),
             f.n + 1
        FROM found f
       WHERE f.lane IS NOT NULL
         AND f.n <= $5)  -- one more than wanted, because the default lane may be among them
    SELECT f.lane FROM found f WHERE f.lane IS NOT NULL AND f.lane <> '5' ORDER BY f.lane LIMIT $5);
END
$$;

-- open_lanes: the lanes of a route from which a claim takes, in the order in which it does, and the lowest transaction of
-- their pokes; NULL when there are more lanes than one call looks at. Within a priority they begin after `turn`, the lane the
-- caller took from last; without one anywhere. Lanes 'r..' come last: what has begun goes on before anything begins.
-- Callers: claim_runs, for a route that has other lanes than the default one. Index: pokes_queue. Locks: none.
CREATE OR REPLACE FUNCTION open_lanes(route_id bigint, mark xid8, turn text, OUT lanes text[], OUT first xid8)
LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
  c_most CONSTANT int := 100;
  v_all boolean;
  v_rated text[] := lanes_between($1, $2, 'r', 's', c_most);
BEGIN
  lanes := lanes_between($1, $2, '', 'a', c_most);
  v_all := cardinality(lanes) < c_most AND cardinality(v_rated) < c_most;
  IF cardinality(v_rated) = c_most AND turn > 'r' THEN
    v_rated := lanes_between($1, $2, turn, 's', c_most) || v_rated;
  END IF;
  IF cardinality(lanes) = c_most AND turn < 'a' THEN
    lanes := lanes || lanes_between($1, $2, turn, chr(ascii(turn) + 1), c_most);
  END IF;
  turn := coalesce(turn, lanes[1 + floor(random() * cardinality(lanes))::int]);
  lanes := ARRAY(SELECT DISTINCT ON (left(x, 1) COLLATE "C", x COLLATE "C" <= turn COLLATE "C", x COLLATE "C") x
                   FROM unnest(array_append(lanes, '5')) x
                  ORDER BY left(x, 1) COLLATE "C", x COLLATE "C" <= turn COLLATE "C", x COLLATE "C"
                  LIMIT c_most)
           || ARRAY(SELECT DISTINCT ON (left(x, 2) COLLATE "C", x COLLATE "C" <= turn COLLATE "C", x COLLATE "C") x
                      FROM unnest(v_rated) x
                     ORDER BY left(x, 2) COLLATE "C", x COLLATE "C" <= turn COLLATE "C", x COLLATE "C"
                     LIMIT c_most);
  IF v_all THEN
    first := (SELECT min(f.xid)
                FROM unnest(lanes) x
               CROSS JOIN LATERAL (SELECT p.xid
                                     FROM pokes p
                                    WHERE p.route_id = $1 AND p.lane = x AND p.xid >= $2
                                    ORDER BY p.xid, p.id
                                    LIMIT 1) f);
    first := coalesce(first, pg_snapshot_xmin(pg_current_snapshot()));
  END IF;
END
$$;
