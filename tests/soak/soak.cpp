#include "tests/soak/soak.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <list>
#include <optional>

namespace romancy::soak {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kDrainGuard = 180s;  // of all, once no new one begins

constexpr const char* kTables = R"sql(
CREATE SCHEMA soak;
CREATE TABLE soak.effects (key text PRIMARY KEY, instance text NOT NULL, label text NOT NULL, attempts int NOT NULL DEFAULT 1, note text NOT NULL DEFAULT '');
CREATE INDEX ON soak.effects (instance text_pattern_ops);
CREATE TABLE soak.ledger (id bigint GENERATED ALWAYS AS IDENTITY, instance text NOT NULL, label text NOT NULL, note text NOT NULL DEFAULT '', generation int, version text);
CREATE INDEX ON soak.ledger (instance text_pattern_ops);
CREATE TABLE soak.done (key text PRIMARY KEY);
CREATE TABLE soak.starts (id text PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE soak.moved (id text PRIMARY KEY);
CREATE TABLE soak.triggered (id text PRIMARY KEY);
CREATE TABLE soak.schedules (name text PRIMARY KEY, started bigint NOT NULL, seen bigint NOT NULL, ticks bigint);
CREATE FUNCTION soak.cancel(id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM romancy.cancel_workflow(id, 'by a client');
EXCEPTION WHEN object_not_in_prerequisite_state THEN  -- it was faster
END
$$;
CREATE FUNCTION soak.move(id text, version text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO soak.moved VALUES ($1);
  PERFORM romancy.set_workflow_version($1, $2);
EXCEPTION WHEN object_not_in_prerequisite_state THEN  -- it was faster
END
$$;
CREATE FUNCTION soak.remove(id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT romancy.remove_workflow(id) THEN RAISE 'remove_workflow found no %', id; END IF;
  IF EXISTS (SELECT FROM romancy.history h WHERE h.instance_id = id) OR EXISTS (SELECT FROM romancy.history_archive h WHERE h.instance_id = id) OR
     EXISTS (SELECT FROM romancy.progress p WHERE p.instance_id = id) OR EXISTS (SELECT FROM romancy.instances i WHERE i.instance_id = id) THEN
    RAISE 'remove_workflow left rows of % behind', id;
  END IF;
END
$$;
GRANT ALL ON SCHEMA soak TO suite;
GRANT ALL ON ALL TABLES IN SCHEMA soak TO suite;
)sql";

// What history itself says: of one program's instances, $1 a pattern. Each row is a violation.
constexpr const char* kHistory = R"sql(
WITH h AS MATERIALIZED (
  SELECT instance_id, 0 AS generation, true AS last, op, kind, name, data, created_at FROM history WHERE instance_id LIKE $1
  UNION ALL
  SELECT instance_id, generation, false, op, kind, name, data, created_at FROM history_archive WHERE instance_id LIKE $1)
SELECT s.instance_id, 'operation ' || s.op || ' was over ' || (coalesce((s.data ->> 'at')::timestamptz,
         s.created_at + coalesce(s.data ->> 'after_us', s.data ->> 'within_us')::bigint * interval '1 microsecond') - f.created_at) || ' early'
  FROM h s JOIN h f USING (instance_id, generation, last, op)
 WHERE ((s.kind = 5 AND f.kind = 6) OR (s.kind = 7 AND f.kind = 9))
   AND f.created_at < coalesce((s.data ->> 'at')::timestamptz,
         s.created_at + coalesce(s.data ->> 'after_us', s.data ->> 'within_us')::bigint * interval '1 microsecond')
UNION ALL
SELECT instance_id, 'operation ' || op || ' was told ' || count(*) || ' results' FROM h
 WHERE kind IN (2, 3, 6, 8, 9, 25, 26) GROUP BY instance_id, generation, last, op
HAVING count(*) > 1 + CASE WHEN min(kind) = 3  -- a compensation that somebody had tried again fails again
                           THEN (SELECT count(*) FROM h d WHERE d.instance_id = h.instance_id AND d.kind = 23) ELSE 0 END
UNION ALL
SELECT instance_id, 'message ' || (data ->> 'message_id') || ' was received ' || count(*) || ' times' FROM h
 WHERE kind = 8 GROUP BY instance_id, data ->> 'message_id' HAVING count(*) > 1
UNION ALL
SELECT s.id, 'began before its time' FROM soak.starts s JOIN h ON h.instance_id = s.id WHERE s.id LIKE $1 AND h.created_at < s.at
   AND NOT EXISTS (SELECT FROM h c WHERE c.instance_id = s.id AND c.kind = 15)  -- a cancellation does not wait for start_at
UNION ALL
SELECT s.name, 'the schedule says it started ' || s.started || ', and there are ' || n.started
  FROM soak.schedules s CROSS JOIN LATERAL (SELECT count(*) AS started FROM instances i WHERE i.instance_id LIKE s.name || '@%'
         AND i.instance_id NOT IN (SELECT t.id FROM soak.triggered t)) n
 WHERE s.name LIKE $1 AND n.started <> s.started
UNION ALL
SELECT s.name, 'of ' || s.ticks || ' ticks the schedule has seen ' || s.seen FROM soak.schedules s WHERE s.name LIKE $1 AND s.seen <> s.ticks
)sql";

// Of an installation where nothing is active, and retention has removed what was: no row at all.
constexpr const char* kLeft = R"sql(
SELECT 'instances', count(*), min(instance_id) FROM instances HAVING count(*) > 0
UNION ALL SELECT 'inbox', count(*), min(instance_id) FROM inbox HAVING count(*) > 0
UNION ALL SELECT 'pokes', count(*), min(instance_id) FROM pokes HAVING count(*) > 0
UNION ALL SELECT 'history', count(*), min(instance_id) FROM history HAVING count(*) > 0
UNION ALL SELECT 'history_archive', count(*), min(instance_id) FROM history_archive HAVING count(*) > 0
UNION ALL SELECT 'former_generations', count(*), min(instance_id) FROM former_generations HAVING count(*) > 0
UNION ALL SELECT 'deadlines', count(*), min(instance_id) FROM deadlines HAVING count(*) > 0
UNION ALL SELECT 'subscriptions', count(*), min(instance_id) FROM subscriptions HAVING count(*) > 0
UNION ALL SELECT 'channel_queue', count(*), min(channel) FROM channel_queue HAVING count(*) > 0
UNION ALL SELECT 'channel_waits', count(*), min(instance_id) FROM channel_waits HAVING count(*) > 0
UNION ALL SELECT 'deferred_messages', count(*), min(channel) FROM deferred_messages HAVING count(*) > 0
UNION ALL SELECT 'group_members', count(*), min(instance_id) FROM group_members HAVING count(*) > 0
UNION ALL SELECT 'children', count(*), min(child_id) FROM children HAVING count(*) > 0
UNION ALL SELECT 'tasks', count(*), min(instance_id) FROM tasks HAVING count(*) > 0
UNION ALL SELECT 'task_stops', count(*), min(task_id)::text FROM task_stops HAVING count(*) > 0
UNION ALL SELECT 'progress', count(*), min(instance_id) FROM progress HAVING count(*) > 0
UNION ALL SELECT 'result_waits', count(*), min(instance_id) FROM result_waits HAVING count(*) > 0
UNION ALL SELECT 'stuck', count(*), min(instance_id) FROM stuck HAVING count(*) > 0
UNION ALL SELECT 'schedules', count(*), min(name) FROM schedules HAVING count(*) > 0
UNION ALL SELECT 'queues', count(*), min(name) FROM queues HAVING count(*) > 0
UNION ALL SELECT 'slots', count(*), min(instance_id) FROM slots HAVING count(*) > 0
UNION ALL SELECT 'draining_versions', count(*), min(version) FROM draining_versions HAVING count(*) > 0
UNION ALL SELECT 'outbox', count(*), min(event_id) FROM outbox HAVING count(*) > 0
UNION ALL SELECT 'sessions of the dead', count(*) - count(DISTINCT worker), min(worker) FROM sessions HAVING count(*) > count(DISTINCT worker)
UNION ALL SELECT 'claims of the dead', count(*), min(session_id)::text FROM claims WHERE session_id NOT IN (SELECT session_id FROM sessions) HAVING count(*) > 0
)sql";

class Soak {
 public:
  explicit Soak(const SoakOptions& options)
      : options_(options),
        site_({.extra = "[poll]\nfallback_interval = \"5s\"\n[worker]\ncache_instances = 20\n[[resumer]]\nname = \"other\"\nversion = \"2\"\ncommand = [\"" +
                        test::program_path("soak_worker") + "\"]\n",
               .supervisor = "restart_delay_max = \"500ms\"\n",
               .resumer = "version = \"1\"\n",
               .components = 6,
               .session_timeout = "3s",
               .wrap = [](const std::string&, const std::string&) { return "\"" + test::program_path("soak_worker") + "\""; }}) {
    site_.script_receiver([this](const test::HttpRequest& request) { return receive(request); });
    site_.run_sql(kTables);
    site_.start_supervisor();
    EXPECT_TRUE(test::eventually([&] { return site_.all_ready(); })) << site_.log();
    auto& conn = db();
    test::add_guard(conn);
    // Programs change these.
    ask("SELECT set_queue('soak-limit', concurrency => 3, key_concurrency => 1), set_queue('soak-rate', rate => 40)");
    if (!options_.broken.empty()) {
      const auto broke = conn.script(options_.broken);
      if (!broke) throw std::runtime_error("break: " + broke.error().text);
    }
  }

  Report run() {
    start_server(site_, server_);
    std::fprintf(stderr, "soak: seed %llu, %lld seconds\n", static_cast<unsigned long long>(options_.seed), static_cast<long long>(options_.length.count()));
    clients_ = std::make_unique<Clients>(site_.server().conninfo(), [this](const std::string& id, const std::string& what) { violation(id, what); });
    if (options_.blows != SoakOptions::Blows::none) chaos_ = std::make_unique<Chaos>(options_, site_, server_, receiver_trouble_);
    const auto end = Clock::now() + options_.length;
    auto told = Clock::now();
    while (Clock::now() < end && !enough() && (report_.programs < options_.most || !under_way_.empty())) {
      while (static_cast<int>(under_way_.size()) < options_.at_once && report_.programs < options_.most) begin();
      look();
      if (Clock::now() - told > 30s) {
        told = Clock::now();
        std::fprintf(stderr, "soak: %d programs begun, %zu under way, %lld instances over, %zu violations\n", report_.programs,
                     under_way_.size(), static_cast<long long>(report_.instances), violations());
      }
      std::this_thread::sleep_for(80ms);  // the pace of the oracle, not a wait for anything
    }
    settle();
    if (chaos_) report_.blows = chaos_->counts();
    for (const auto& [what, times] : clients_->counts()) report_.covered[what] += times;
    clients_.reset();
    if (!enough()) {
      if (const int code = site_.supervisor().terminate(); code != 0) violation("", "the supervisor ended with " + std::to_string(code));
    }
    chaos_.reset();
    server_.reset();
    const std::lock_guard lock(mutex_);
    return report_;
  }

 private:
  struct UnderWay {
    std::shared_ptr<const Program> program;
    Clock::time_point since;
  };

  // ---- the database, which may be away --------------------------------------------------------------------------------------

  pg::Blocking& db() {
    while (!conn_ || !conn_->alive()) {
      pg::ConnOptions options;
      options.conninfo = site_.server().conninfo();
      options.application_name = "soak-oracle";
      options.connect_timeout = 2s;
      auto connected = pg::Blocking::connect(options);
      if (connected) conn_ = std::make_unique<pg::Blocking>(std::move(*connected));
      else std::this_thread::sleep_for(50ms);  // between two tries
    }
    return *conn_;
  }
  // Asks until there is an answer; a question that is refused is our own mistake.
  pg::Rows ask(const std::string& sql, const pg::Params& params = {}) {
    const auto until = Clock::now() + kDrainGuard;
    for (;;) {
      auto rows = db().query(sql, params);
      if (rows) return std::move(*rows);
      if (rows.error().kind != ErrorKind::retry || Clock::now() > until) throw std::runtime_error(rows.error().text + "\n" + sql);
    }
  }

  // ---- violations -----------------------------------------------------------------------------------------------------------

  std::size_t violations() {
    const std::lock_guard lock(mutex_);
    return report_.violations.size();
  }
  bool enough() { return violations() >= options_.enough; }

  void violation(const std::string& id, const std::string& what) {
    std::string text = "seed " + std::to_string(options_.seed) + ", " + id + ": " + what;
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      if (!said_.insert(text).second) return;
      first = said_.size() <= 8;
      report_.violations.push_back(text);
    }
    std::fprintf(stderr, "soak: VIOLATION: %s\n", text.c_str());
    if (!first || !options_.broken.empty()) return;
    std::string shown;
    site_.cli("show '" + id + "' --archive", &shown);
    std::fprintf(stderr, "%s\n", shown.c_str());
    const auto number = id.find('.') == std::string::npos ? std::string() : id.substr(1, id.find('.') - 1);
    if (!number.empty() && number.find_first_not_of("0123456789") == std::string::npos) {
      std::fprintf(stderr, "%s\n", dump_json(make_program(options_.seed, std::stoi(number)).text()).c_str());
    }
  }

  // ---- programs -------------------------------------------------------------------------------------------------------------

  void begin() {
    const auto program = std::make_shared<const Program>(make_program(options_.seed, report_.programs++));
    under_way_[program->id] = {program, Clock::now()};
    clients_->take(program);
  }

  // One look at all: what is over is checked, what is parked or too old is told.
  void look() {
    std::vector<std::string> acted;
    for (const auto& [id, one] : under_way_) {
      if (clients_->done(id)) acted.push_back(id);
    }
    std::set<std::string> active;
    const auto rows = ask("SELECT i.instance_id, i.status, i.note, split_part(i.instance_id, '.', 1) FROM instances i WHERE i.finished_at IS NULL");
    for (int i = 0; i < rows.size(); ++i) {
      const std::string id = rows.str(i, 0), program = rows.str(i, 3);
      active.insert(program);
      if (rows.int32(i, 1) == 5) violation(id, "is parked: " + rows.str(i, 2));
      if (rows.int32(i, 1) == 6 && !rows.is_null(i, 2)) give_up(id, program, rows.str(i, 2));
    }
    for (const std::string& id : acted) {
      if (active.contains(id)) continue;
      const UnderWay over = under_way_.at(id);
      under_way_.erase(id);
      report_.longest_ms = std::max(report_.longest_ms, std::int64_t{std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - over.since).count()});
      verify(*over.program);
    }
    for (auto& [id, one] : under_way_) {
      if (Clock::now() - one.since < options_.guard) continue;
      one.since = Clock::now() + 1h;  // told once
      const auto left = ask("SELECT instance_id FROM instances WHERE instance_id LIKE $1 AND finished_at IS NULL", pg::Params(id + ".%"));
      if (left.empty()) violation(id + ".", "its clients do not come to an end");
      for (int i = 0; i < left.size(); ++i) violation(left.str(i, 0), "is still not over");
    }
    const auto broken = ask("SELECT instance_id, invariant || ': ' || coalesce(detail, '') FROM check_invariants() UNION ALL SELECT instance_id, what FROM guard_notes");
    for (int i = 0; i < broken.size(); ++i) violation(broken.str(i, 0), broken.str(i, 1));
    ++report_.samples;
  }

  // Compensations that fail for good wait for a person: here it is one that tries them once more, and then gives them up.
  void give_up(const std::string& id, const std::string& program, const std::string& note) {
    const auto known = under_way_.find(program);
    bool planned = false;
    if (known != under_way_.end()) {
      for (const Actor& actor : known->second.program->actors) {
        if (actor.id != id) continue;
        for (const Json& step : actor.steps) planned = planned || (step.at("k") == "comp" && step.value("never", false));
      }
    }
    if (!planned) return violation(id, "waits with a compensation that was not to fail: " + note);
    // Refused: it was done; lost: the next look sees it again.
    const bool again = retried_.insert(id).second;
    if (again) ++report_.covered["compensations tried again"];
    db().query(again ? "SELECT retry_compensations($1)" : "SELECT give_up_compensations($1)", pg::Params(id));
  }

  void verify(const Program& program) {
    const std::string pattern = program.id + ".%";
    Facts facts;
    const auto json = [](const pg::Rows& rows, int row, int column) {
      if (rows.is_null(row, column)) return Json();
      auto value = parse_json(rows.text(row, column), "a value");
      return value ? std::move(*value) : Json();
    };
    const auto instances = ask("SELECT instance_id, status, output, progress, error ->> 'type', coalesce(version, ''), generation FROM workflow_instances WHERE instance_id LIKE $1", pg::Params(pattern));
    for (int i = 0; i < instances.size(); ++i) {
      Facts::Instance& one = facts.instances[instances.str(i, 0)];
      one.status = instances.str(i, 1);
      one.output = json(instances, i, 2);
      one.progress = json(instances, i, 3);
      if (!instances.is_null(i, 4)) one.error_type = instances.str(i, 4);
      one.version = instances.str(i, 5);
      one.generation = instances.int32(i, 6);
    }
    const auto effects = ask("SELECT instance, label, count(*), false, 0, max(note) FROM soak.effects WHERE instance LIKE $1 GROUP BY 1, 2 UNION ALL "
                             "SELECT instance, label, count(*), true, max(id), max(note) FROM soak.ledger WHERE instance LIKE $1 GROUP BY 1, 2", pg::Params(pattern));
    for (int i = 0; i < effects.size(); ++i) {
      Facts::Written& one = facts.effects[{effects.str(i, 0), effects.str(i, 1)}];
      one.times += effects.int32(i, 2);
      one.ledger = effects.boolean(i, 3);
      one.order = effects.int64(i, 4);
      one.note = effects.str(i, 5);
    }
    const auto patched = ask("SELECT i.instance_id, i.generation FROM workflow_instances i WHERE i.instance_id LIKE $1 AND EXISTS "
                             "(SELECT FROM workflow_history h WHERE h.instance_id = i.instance_id AND h.kind = 'patched') "
                             "UNION ALL SELECT DISTINCT instance_id, generation FROM workflow_history_archive WHERE instance_id LIKE $1 AND kind = 'patched'", pg::Params(pattern));
    for (int i = 0; i < patched.size(); ++i) facts.patched.emplace(patched.str(i, 0), patched.int32(i, 1));
    // Labels of one id's several lives begin with the letter of the life; generations are counted anew in each.
    const auto made = ask("SELECT DISTINCT instance, generation || substring(label FROM '^[a-z]*'), version FROM soak.ledger WHERE instance LIKE $1 AND version IS NOT NULL", pg::Params(pattern));
    for (int i = 0; i < made.size(); ++i) facts.made_by[{made.str(i, 0), made.str(i, 1)}].insert(made.str(i, 2));
    const auto moved = ask("SELECT id FROM soak.moved WHERE id LIKE $1", pg::Params(pattern));
    for (int i = 0; i < moved.size(); ++i) facts.moved.insert(moved.str(i, 0));
    const Verdict verdict = check(program, facts);
    for (const auto& [id, what] : verdict.violations) violation(id, what);
    for (const auto& [kind, times] : verdict.covered) report_.covered[kind] += times;
    events_.insert(verdict.events.begin(), verdict.events.end());
    events_allowed_.insert(verdict.events_allowed.begin(), verdict.events_allowed.end());
    const auto history = ask(kHistory, pg::Params(pattern));
    for (int i = 0; i < history.size(); ++i) violation(history.str(i, 0), history.str(i, 1));
    ++report_.covered["program: " + program.kind];
    report_.instances += instances.size();
    if (program.schedule) report_.covered["ticks"] += instances.size();
    // Every other one is removed by id; the rest is left to retention.
    if (program.number % 2 == 0 && verdict.violations.empty()) {
      ++report_.covered["removed by id"];
      for (const auto& [id, one] : facts.instances) ask("SELECT remove_workflow($1)", pg::Params(id));
    }
  }

  // ---- the receiver of events ------------------------------------------------------------------------------------------------

  std::string receive(const test::HttpRequest& request) {
    const int trouble = receiver_trouble_;
    if (trouble == 1) return test::http_answer(503);
    if (trouble == 2) return test::kHangUp;
    const auto id = request.headers.find("ce-id");
    if (id == request.headers.end()) return test::http_answer(400);
    {
      const std::lock_guard lock(mutex_);
      auto [seen, first] = bodies_.emplace(id->second, request.body);
      if (!first && seen->second != request.body) report_.violations.push_back("event " + id->second + " came with two contents");
    }
    return trouble == 3 ? test::kHangUp : test::http_answer(204);  // 3: it got it, and nobody was told
  }

  void delivered() {
    std::map<std::string, std::string> came;  // by instance and path
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [id, body] : bodies_) {
        const auto data = parse_json(body, "an event");
        const std::string what = data ? data->value("instance", "") + " " + data->value("label", "") : body;
        if (const auto [other, first] = came.emplace(what, id); !first) report_.violations.push_back("event " + what + " came as " + id + " and as " + other->second);
      }
    }
    report_.events = static_cast<std::int64_t>(came.size());
    for (const std::string& one : events_) {
      if (!came.contains(one)) violation(one.substr(0, one.find(' ')), "event " + one + " was never delivered");
    }
    for (const auto& [one, id] : came) {
      if (!events_allowed_.contains(one)) violation(one.substr(0, one.find(' ')), "event " + one + " should not be");
    }
  }

  // ---- the end ---------------------------------------------------------------------------------------------------------------

  void settle() {
    if (chaos_) chaos_->rest();
    const auto until = Clock::now() + kDrainGuard;
    while (!under_way_.empty() && !enough() && Clock::now() < until) {
      look();
      std::this_thread::sleep_for(80ms);  // the pace of the oracle
    }
    if (enough()) return;  // it is far from at rest
    for (const auto& [id, one] : under_way_) violation(id + ".", "did not come to its end");
    const auto comes = [&](const char* what, const std::string& sql) {
      pg::Rows rows;
      if (!test::eventually([&] { return (rows = ask(sql)).empty(); }, 180s)) {
        for (int i = 0; i < rows.size(); ++i) violation(rows.columns() > 2 && !rows.is_null(i, 2) ? rows.str(i, 2) : "", std::string(what) + ": " + rows.str(i, 0) + " " + rows.str(i, 1));
      }
    };
    for (const char* queue : {"soak-limit", "soak-rate"}) ask("SELECT remove_queue($1)", pg::Params(std::string(queue)));
    comes("an event was left", "SELECT event_id, coalesce(last_error, ''), NULL FROM outbox WHERE status <> 2 LIMIT 5");
    delivered();
    testing::AssertionResult quiet = testing::AssertionFailure();
    if (!test::eventually([&] { return (quiet = test::check_quiescent(db())); })) violation("", quiet.message());
    site_.write_config("[retention]\ncompleted = \"1ms\"\nfailed = \"1ms\"\ncancelled = \"1ms\"\narchive = \"1ms\"\noutbox_delivered = \"1ms\"\ninterval = \"100ms\"\n");
    std::string said;
    if (!test::eventually([&] { return site_.cli("reload", &said) == 0; })) violation("", "reload: " + said);
    comes("rows are left over", kLeft);
    if (!test::eventually([&] { return site_.all_ready(); })) violation("", "not all are ready again: " + dump_json(site_.status()));
  }

  const SoakOptions options_;
  std::mutex mutex_;  // what the receiver and the clients write as well
  Report report_;
  std::set<std::string> said_, retried_;
  std::map<std::string, std::string> bodies_;
  std::atomic<int> receiver_trouble_ = 0;
  test::Site site_;
  std::unique_ptr<pg::Blocking> conn_;
  std::unique_ptr<test::Daemon> server_;
  std::unique_ptr<Clients> clients_;
  std::unique_ptr<Chaos> chaos_;
  std::map<std::string, UnderWay> under_way_;
  std::set<std::string> events_, events_allowed_;
};

}  // namespace

Report run(const SoakOptions& options) { return Soak(options).run(); }

}  // namespace romancy::soak
