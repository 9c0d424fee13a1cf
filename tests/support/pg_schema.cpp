#include "tests/support/pg_schema.hpp"

#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "common/pg/migrate.hpp"

namespace romancy::test {
namespace {

template <class T>
T or_throw(Result<T> result, const std::string& what) {
  if (!result) throw std::runtime_error(what + ": " + result.error().text + " [" + result.error().sqlstate + "]");
  return std::move(*result);
}

std::string fresh_name() {
  static std::atomic<int> number = 0;
  return "t_" + std::to_string(::getpid()) + "_" + std::to_string(++number);
}

// guard: SECURITY DEFINER, so that whoever changes an instance may note it. stop_at: where a Gate (pg_step.hpp) stops.
constexpr const char* kTestOnly = R"sql(
CREATE TABLE guard_notes (what text NOT NULL, instance_id text NOT NULL);
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF old.status IN (2, 3, 4) THEN
    INSERT INTO guard_notes VALUES ('a finished instance was changed', new.instance_id);
  END IF;
  IF new.lease_token < old.lease_token THEN
    INSERT INTO guard_notes VALUES ('a token fell', new.instance_id);
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER guard AFTER UPDATE ON instances FOR EACH ROW EXECUTE FUNCTION guard();
CREATE FUNCTION stop_at(name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(4711, hashtext(current_schema() || name));
END
$$;
)sql";

constexpr const char* kViolations =
    "SELECT invariant, instance_id, detail FROM check_invariants() "
    "UNION ALL SELECT 'guard: ' || what, instance_id, '' FROM guard_notes";

constexpr const char* kLeftovers = R"sql(
SELECT 'poke', instance_id FROM pokes
UNION ALL
SELECT 'unread inbox row of kind ' || b.kind, b.instance_id FROM inbox b
  LEFT JOIN instances i ON i.instance_id = b.instance_id WHERE NOT b.seen AND i.status IS DISTINCT FROM 5
UNION ALL
SELECT 'owner ' || session_id, instance_id FROM instances WHERE session_id IS NOT NULL
UNION ALL
SELECT 'history has ' || count(*) || ' rows, from seq ' || min(seq) || ' to ' || max(seq), instance_id FROM history
 GROUP BY instance_id HAVING min(seq) <> 1 OR max(seq) <> count(*)
UNION ALL
SELECT 'journal row of session ' || c.session_id || ', which has ended', c.ids[1] FROM claims c
 WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.session_id = c.session_id)
UNION ALL
SELECT 'inbox of a finished instance', b.instance_id FROM inbox b JOIN instances i USING (instance_id)
 WHERE i.status IN (2, 3, 4)
UNION ALL
SELECT 'deadline of a finished instance', d.instance_id FROM deadlines d JOIN instances i USING (instance_id)
 WHERE i.status IN (2, 3, 4)
UNION ALL
SELECT 'subscription of a finished instance', s.instance_id FROM subscriptions s JOIN instances i USING (instance_id)
 WHERE i.status IN (2, 3, 4)
UNION ALL
SELECT 'member of a group, and finished', m.instance_id FROM group_members m JOIN instances i USING (instance_id)
 WHERE i.status IN (2, 3, 4)
UNION ALL
SELECT 'message that was not sent on', channel FROM deferred_messages
UNION ALL
SELECT invariant, instance_id FROM check_invariants()
UNION ALL
SELECT what, instance_id FROM guard_notes
)sql";

}  // namespace

std::string test_conninfo() {
  const char* conninfo = std::getenv("ROMANCY_TEST_PG");
  if (!conninfo || !*conninfo) throw std::runtime_error("ROMANCY_TEST_PG is not set: run ./dev test");
  return conninfo;
}

Schema::Schema(std::string conninfo, Make make)
    : conninfo_(conninfo.empty() ? test_conninfo() : std::move(conninfo)), name_(fresh_name()) {
  if (make == Make::absent) return;
  auto conn = connect();
  or_throw(pg::migrate(conn, name_), "test schema");
  add_guard(conn);
}

Schema::~Schema() {
  auto conn = pg::Blocking::connect(options());
  if (!conn) return;  // the test stopped its own server: the schema went with it
  const std::string script = "SET client_min_messages = warning; DROP SCHEMA IF EXISTS " + name_ +
                             " CASCADE; DROP ROLE IF EXISTS " + name_ + "_client, " + name_ + "_worker";
  auto dropped = conn->script(script);
  // A killed program's last statement may still run at the server, and lock the tables in another order.
  for (int i = 0; i < 5 && !dropped && dropped.error().sqlstate == "40P01"; ++i) dropped = conn->script(script);
  if (!dropped) ADD_FAILURE() << "drop " << name_ << ": " << dropped.error().text;
}

pg::ConnOptions Schema::options() const {
  pg::ConnOptions options{
      .conninfo = conninfo_, .application_name = "romancy-test", .schema = name_, .set = pg::worker_settings()};
  options.set.emplace_back("jit", "off");  // tests read whole tables, at the forbidding price of enable_seqscan = off
  return options;
}

pg::Blocking Schema::connect() const { return or_throw(pg::Blocking::connect(options()), "connect"); }

void Schema::run(const std::string& sql) const {
  auto conn = connect();
  or_throw(conn.script(sql), sql.substr(0, 60));
}

void Schema::patch(const std::string& function, const std::string& from, const std::string& to) const {
  auto conn = connect();
  auto rows = or_throw(conn.query("SELECT pg_get_functiondef($1::regproc)", pg::Params(function)), "patch");
  std::string text = rows.str(0, 0);
  const auto at = text.find(from);
  if (at == text.npos || text.find(from, at + 1) != text.npos)
    throw std::runtime_error("patch " + function + ": not exactly once: " + from);
  text.replace(at, from.size(), to);
  or_throw(conn.script(text), "patch " + function);
}

void add_guard(pg::Blocking& conn) { or_throw(conn.script(kTestOnly), "test schema: guard"); }

testing::AssertionResult check_quiescent(pg::Blocking& conn) {
  auto rows = conn.query(kLeftovers);
  if (!rows) return testing::AssertionFailure() << rows.error().text;
  if (rows->empty()) return testing::AssertionSuccess();
  auto failure = testing::AssertionFailure() << "not quiescent:";
  for (int i = 0; i < rows->size(); ++i) failure << "\n  " << rows->text(i, 1) << ": " << rows->text(i, 0);
  return failure;
}

InvariantSampler::InvariantSampler(pg::ConnOptions options, std::chrono::milliseconds every)
    : thread_([this, options = std::move(options), every] { sample(options, every); }) {}

InvariantSampler::~InvariantSampler() {
  stop();
  EXPECT_GT(samples_, 0) << "the sampler never got an answer";
  testing::Test::RecordProperty("invariant_samples", samples_);
}

void InvariantSampler::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void InvariantSampler::sample(pg::ConnOptions options, std::chrono::milliseconds every) {
  auto conn = pg::Blocking::connect(options);
  std::unique_lock lock(mutex_);
  // At least one sample, however short the test.
  do {
    lock.unlock();
    auto rows = conn ? conn->query(kViolations) : Result<pg::Rows>(tl::unexpected(conn.error()));
    if (!rows) {
      if (rows.error().kind != ErrorKind::retry) ADD_FAILURE() << "sampler: " << rows.error().text;
      conn = pg::Blocking::connect(options);
    } else {
      ++samples_;
      for (int i = 0; i < rows->size(); ++i) {
        ++violations_;
        ADD_FAILURE() << rows->text(i, 0) << ": " << rows->text(i, 1) << " (" << rows->text(i, 2) << ")";
      }
    }
    lock.lock();
  } while (!wake_.wait_for(lock, every, [this] { return stop_; }));
}

}  // namespace romancy::test
