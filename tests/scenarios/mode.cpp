#include "tests/scenarios/mode.hpp"

#include <stdexcept>

namespace romancy::test {
namespace {

// effects: one row an attempt of an activity that had an effect. gates: what lets waiting activities go on.
// at_rest, leftovers: what a scenario asks about its instances that the views do not tell; as the owner, because a
// scenario is a client and reads no table.
constexpr const char* kTables = R"sql(
CREATE TABLE effects (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  instance_id text NOT NULL,
  what        text NOT NULL,
  key         text NOT NULL,
  attempt     int  NOT NULL,
  process     int  NOT NULL
);
CREATE INDEX ON effects (instance_id);
CREATE TABLE gates (name text PRIMARY KEY);

-- Suspended: it began, nobody holds it, it has read everything.
CREATE FUNCTION at_rest(id text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT EXISTS (SELECT FROM instances i WHERE i.instance_id = $1 AND i.session_id IS NULL)
     AND EXISTS (SELECT FROM history h WHERE h.instance_id = $1)
     AND NOT EXISTS (SELECT FROM inbox b WHERE b.instance_id = $1 AND NOT b.seen)
$$;

-- Rows that somebody sent to it and it has not read.
CREATE FUNCTION unread(id text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT count(*) FROM inbox b WHERE b.instance_id = $1 AND NOT b.seen
$$;

-- Messages that it looked at and left for later.
CREATE FUNCTION put_aside(id text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT count(*) FROM inbox b WHERE b.instance_id = $1 AND b.seen
$$;

CREATE FUNCTION subscribed(id text, channel text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
  SELECT EXISTS (SELECT FROM subscriptions s WHERE s.instance_id = $1 AND s.channel = $2)
$$;

-- What must not be there once the instances whose ids begin with `prefix` have nothing to do.
CREATE FUNCTION leftovers(prefix text) RETURNS TABLE (what text, instance_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = on AS $$
  WITH mine AS MATERIALIZED (SELECT i.* FROM instances i WHERE i.instance_id ^@ prefix)
  SELECT 'poke', p.instance_id FROM pokes p WHERE p.instance_id ^@ prefix
  UNION ALL
  SELECT 'unread inbox row of kind ' || b.kind, b.instance_id
    FROM mine m JOIN inbox b USING (instance_id) WHERE NOT b.seen AND m.status <> 5
  UNION ALL
  SELECT 'inbox row without an instance', b.instance_id
    FROM inbox b LEFT JOIN mine m USING (instance_id) WHERE b.instance_id ^@ prefix AND m.instance_id IS NULL
  UNION ALL
  SELECT 'owner ' || m.session_id, m.instance_id FROM mine m WHERE m.session_id IS NOT NULL
  UNION ALL
  SELECT 'history has ' || count(*) || ' rows, from seq ' || min(h.seq) || ' to ' || max(h.seq), h.instance_id
    FROM history h WHERE h.instance_id ^@ prefix
   GROUP BY h.instance_id HAVING min(h.seq) <> 1 OR max(h.seq) <> count(*)
  UNION ALL
  SELECT 'two results of operation ' || h.op, h.instance_id
    FROM history h WHERE h.instance_id ^@ prefix AND h.kind = 2 GROUP BY h.instance_id, h.op HAVING count(*) > 1
  UNION ALL
  SELECT 'inbox of a finished instance', b.instance_id
    FROM mine m JOIN inbox b USING (instance_id) WHERE m.status IN (2, 3, 4)
  UNION ALL
  SELECT 'deadline of a finished instance', d.instance_id
    FROM mine m JOIN deadlines d USING (instance_id) WHERE m.status IN (2, 3, 4)
  UNION ALL
  SELECT 'subscription of a finished instance', s.instance_id
    FROM mine m JOIN subscriptions s USING (instance_id) WHERE m.status IN (2, 3, 4)
  UNION ALL
  SELECT 'guard: ' || g.what, g.instance_id FROM guard_notes g WHERE g.instance_id ^@ prefix
$$;
)sql";

constexpr const char* kSilence = R"sql(
CREATE OR REPLACE FUNCTION hint(kind text, payload jsonb) RETURNS void LANGUAGE sql VOLATILE AS $$ SELECT $$;
)sql";

}  // namespace

std::string name_of(const Mode& mode) {
  std::string name;
  switch (mode.hearing) {
    case Hearing::notified: name = "Notified"; break;
    case Hearing::unnotified: name = "Unnotified"; break;
    case Hearing::polling: name = "Polling"; break;
  }
  return mode.cache ? name : name + "Replaying";
}

Mode mode_named(const std::string& name) {
  for (const Hearing hearing : {Hearing::notified, Hearing::unnotified, Hearing::polling}) {
    for (const bool cache : {true, false}) {
      if (name_of({hearing, cache}) == name) return {hearing, cache};
    }
  }
  throw std::runtime_error("no mode " + name);
}

SystemOptions options_of(const Mode& mode, const std::string& more_toml) {
  return {.listen = mode.hearing != Hearing::polling,
          .conninfo = {},
          .extra = std::string("[worker]\nactivity_threads = 16\n") + (mode.cache ? "" : "cache_instances = 0\n") + more_toml,
          .worker = "scenario_worker",
          .fallback = mode.hearing == Hearing::notified ? "5m" : "100ms",
          .tables = kTables};
}

void prepare(System& system, const Mode& mode) {
  const std::string client = system.schema() + "_client";
  system.made().run("GRANT SELECT ON effects, guard_notes TO " + client + "; GRANT SELECT, INSERT, DELETE ON gates TO " +
                    client + "; GRANT EXECUTE ON FUNCTION at_rest, unread, put_aside, subscribed, leftovers TO " + client);
  if (mode.hearing != Hearing::unnotified) return;
  system.made().run(kSilence);
  // A hint() with other parameters would have been left beside ours, loud.
  EXPECT_EQ(system.count("SELECT count(*) FROM pg_proc WHERE proname = 'hint' AND pronamespace = current_schema()::regnamespace"), 1);
}

}  // namespace romancy::test
