// The timer as a process, against PostgreSQL. Poll intervals of an hour (TimerStage): nothing here waits for a poll
// unless the test is about polling.
#include <gmock/gmock.h>
#include <sys/socket.h>

#include "common/base/ids.hpp"
#include "common/io/line_stream.hpp"
#include "tests/process/timer_stage.hpp"

namespace romancy::test {
namespace {

TEST(TimerProcess, DueTimersFireOnceWithTwoTimersRunning) {
  TimerStage stage({.timer = "20ms", .timeout = "20ms"});
  InvariantSampler sampler(stage.schema());
  const auto one = stage.timer("one"), two = stage.timer("two");
  stage.sql("SELECT count(start_workflow('w', '{}', 'i' || n)) FROM generate_series(1, 500) n");
  stage.sql(
      "INSERT INTO deadlines (instance_id, op, kind, expires_at) "
      "SELECT 'i' || n, 1, 1 + n % 3, clock_timestamp() + n * interval '1 ms' FROM generate_series(1, 500) n");
  ASSERT_TRUE(eventually([&] { return stage.pending() == 0; }));
  EXPECT_EQ(stage.count("SELECT count(*) FROM inbox WHERE kind IN (3, 4, 5)"), 500);
  EXPECT_EQ(stage.count("SELECT count(DISTINCT instance_id) FROM inbox WHERE kind IN (3, 4, 5)"), 500);
  EXPECT_EQ(stage.fired(3), 166);
  EXPECT_EQ(stage.fired(4), 167);
  EXPECT_EQ(stage.fired(5), 167);
}

TEST(TimerProcess, ATimerRegisteredDuringALongerSleepFiresAtItsOwnTime) {
  TimerStage stage({.listen = true});
  stage.instance("late");
  stage.instance("soon");
  stage.deadline("late", 1, 1, "1 hour");
  const auto listener = stage.listener();
  const auto timer = stage.timer("timer", true);
  // One after the other: more than the few resyncs at the beginning could account for.
  for (int op = 1; op <= 6; ++op) {
    stage.deadline("soon", op, 1, "100 ms");
    ASSERT_TRUE(eventually([&] { return stage.fired(3) == op; })) << timer->log();
  }
  EXPECT_EQ(stage.pending(), 1);
}

// The alarm is set by what an earlier look saw: no hint, no poll.
TEST(TimerProcess, FiresAtTheDeadlineItselfWithTheListenerOff) {
  TimerStage stage({});
  stage.instance("a");
  stage.deadline("a", 1, 1, "1 second");
  stage.deadline("a", 2, 2, "1200 ms");
  stage.deadline("a", 3, 3, "1400 ms");
  stage.sql(
      "SELECT start_workflow('w', '{\"n\": 9007199254740993}', 'later', start_at => clock_timestamp() + interval '1600 "
      "ms')");
  const auto timer = stage.timer();
  EXPECT_TRUE(eventually([&] { return stage.fired(3) == 1 && stage.fired(4) == 1 && stage.fired(5) == 1; }))
      << timer->log();
  EXPECT_TRUE(eventually([&] {
    return stage.count(
               "SELECT count(*) FROM inbox WHERE instance_id = 'later' AND kind = 1 AND data = '{\"n\": "
               "9007199254740993}'") == 1;
  })) << timer->log();
}

TEST(TimerProcess, WithoutHintsThePollFindsNewTimers) {
  TimerStage stage({.timer = "50ms", .timeout = "50ms"});
  const auto timer = stage.timer();
  stage.instance("a");
  stage.deadline("a", 1, 1, "0");
  stage.deadline("a", 2, 2, "0");
  EXPECT_TRUE(eventually([&] { return stage.fired(3) == 1 && stage.fired(4) == 1; })) << timer->log();
}

TEST(TimerProcess, EachKindHasItsOwnPollInterval) {
  TimerStage stage({.timer = "1h", .timeout = "50ms"});
  const auto timer = stage.timer();
  stage.instance("a");
  stage.deadline("a", 1, 1, "0");
  stage.deadline("a", 2, 2, "0");
  ASSERT_TRUE(eventually([&] { return stage.fired(4) == 1; })) << timer->log();
  EXPECT_EQ(stage.fired(3), 0) << "nobody told, and its poll is an hour away";
}

TEST(TimerProcess, MoreThanABatchFiresWithoutWaiting) {
  TimerStage stage({});
  stage.sql("SELECT count(start_workflow('w', '{}', 'i' || n)) FROM generate_series(1, 1234) n");
  stage.sql(
      "INSERT INTO deadlines (instance_id, op, kind, expires_at) "
      "SELECT 'i' || n, 1, 1, clock_timestamp() - interval '1 minute' FROM generate_series(1, 1234) n");
  const auto timer = stage.timer();
  EXPECT_TRUE(eventually([&] { return stage.pending() == 0; })) << timer->log();
  EXPECT_EQ(stage.fired(3), 1234);
}

TEST(TimerProcess, KilledBetweenRegistrationAndDeadlineItFiresOnceAfterItsRestart) {
  TimerStage stage({});
  stage.instance("a");
  stage.deadline("a", 1, 1, "500 ms");
  auto first = stage.timer("first");
  first->kill9();
  ASSERT_TRUE(eventually(
      [&] { return stage.count("SELECT count(*) FROM deadlines WHERE expires_at < clock_timestamp()") == 1; }));
  EXPECT_EQ(stage.fired(3), 0);
  const auto second = stage.timer("second");
  EXPECT_TRUE(eventually([&] { return stage.fired(3) == 1; })) << second->log();
  EXPECT_EQ(stage.pending(), 0);
}

TEST(TimerProcess, ForgedHintsStopNothing) {
  TimerStage stage({.listen = true});
  const auto listener = stage.listener();
  const auto timer = stage.timer("timer", true);
  for (const char* payload : {"{}", R"({"timer_id": 7, "expires_at": []})",
                              R"({"timer_id": "sleep:1", "expires_at": "1970-01-01T00:00:00Z"})",
                              R"({"timer_id": "sleep:1", "expires_at": "9999-12-31T23:59:59Z"})", "not json"}) {
    stage.sql("SELECT pg_notify(current_schema() || '_timer_expired', $1)", pg::Params(payload));
  }
  stage.instance("a");
  stage.deadline("a", 1, 1, "200 ms");
  stage.deadline("a", 2, 2, "200 ms");
  EXPECT_TRUE(eventually([&] { return stage.fired(3) == 1 && stage.fired(4) == 1; })) << timer->log();
}

TEST(TimerProcess, ATimerLockedBySomebodyElseFiresWhenItIsFree) {
  TimerStage stage({});
  stage.instance("a");
  stage.deadline("a", 1, 1, "-1 second");
  auto holder = stage.schema().connect();
  ASSERT_TRUE(holder.script("BEGIN; SELECT * FROM deadlines FOR UPDATE"));
  const auto timer = stage.timer();
  ASSERT_TRUE(holder.script("ROLLBACK"));
  EXPECT_TRUE(eventually([&] { return stage.fired(3) == 1; })) << timer->log();
}

TEST(TimerProcess, ATimerOfAFinishedWorkflowRevivesNothing) {
  TimerStage stage({});
  stage.instance("done");
  stage.sql("DELETE FROM inbox");
  stage.sql("DELETE FROM pokes");
  stage.sql("UPDATE instances SET status = 4, finished_at = clock_timestamp()");
  stage.deadline("done", 1, 1, "0");
  const auto timer = stage.timer();
  EXPECT_TRUE(eventually([&] { return stage.pending() == 0; })) << timer->log();
  EXPECT_EQ(stage.count("SELECT count(*) FROM inbox"), 0);
  EXPECT_EQ(stage.count("SELECT count(*) FROM pokes"), 0);
}

TEST(TimerProcess, OnceFiresWhatIsDueAndEnds) {
  TimerStage stage({});
  stage.sql("SELECT count(start_workflow('w', '{}', 'i' || n)) FROM generate_series(1, 250) n");
  stage.sql(
      "INSERT INTO deadlines (instance_id, op, kind, expires_at) "
      "SELECT 'i' || n, 1, 1 + n % 2, clock_timestamp() FROM generate_series(1, 250) n");
  stage.instance("later");
  stage.deadline("later", 1, 1, "1 hour");
  auto timer = stage.daemon("romancy-timer", "timer", {"--once"});
  EXPECT_EQ(WEXITSTATUS(timer->wait()), 0) << timer->log();
  EXPECT_EQ(stage.pending(), 1);
}

TEST(TimerProcess, OnceWithoutADatabaseIs75) {
  TempDir dir;
  const auto config =
      dir.write("romancy.toml", "[database]\nurl = \"host=" + dir.path() + " user=nobody dbname=none\"\n");
  Daemon timer("romancy-timer", {"--config", config, "--once"}, dir.path() + "/timer.log");
  EXPECT_EQ(WEXITSTATUS(timer.wait()), 75) << timer.log();
}

TEST(TimerProcess, WithoutASchemaItIs78) {
  TempDir dir;
  const Schema schema({}, Schema::Make::absent);
  const auto config = dir.write(
      "romancy.toml", "[database]\nurl = \"" + schema.conninfo() + "\"\nschema = \"" + schema.name() + "\"\n");
  Daemon timer("romancy-timer", {"--config", config}, dir.path() + "/timer.log");
  EXPECT_EQ(WEXITSTATUS(timer.wait()), 78) << timer.log();
  EXPECT_THAT(timer.log(), testing::HasSubstr(schema.name()));
}

TEST(TimerProcess, ASchemaMadeForNewerProgramsIs78) {
  TimerStage stage({});
  stage.sql("INSERT INTO schema_version (version, oldest_program) VALUES (99, 99)");
  auto timer = stage.daemon("romancy-timer", "timer");
  EXPECT_EQ(WEXITSTATUS(timer->wait()), 78) << timer->log();
}

TEST(TimerProcess, SurvivesItsDatabase) {
  PrivateCluster cluster;
  TimerStage stage({}, cluster.conninfo());
  auto timer = stage.timer();
  stage.instance("a");
  stage.deadline("a", 1, 1, "0");
  cluster.stop("immediate");
  ASSERT_TRUE(eventually([&] { return timer->logged("database_away"); })) << timer->log();
  EXPECT_TRUE(timer->running());
  cluster.start();
  stage.reconnect();
  EXPECT_TRUE(eventually([&] { return stage.fired(3) == 1; })) << timer->log();
  EXPECT_EQ(timer->terminate(), 0) << timer->log();
}

TEST(TimerProcess, StopsWhenAskedWithWorkAround) {
  TimerStage stage({.timer = "20ms", .timeout = "20ms"});
  stage.sql("SELECT count(start_workflow('w', '{}', 'i' || n)) FROM generate_series(1, 2000) n");
  stage.sql(
      "INSERT INTO deadlines (instance_id, op, kind, expires_at) "
      "SELECT 'i' || n, 1, 1, clock_timestamp() FROM generate_series(1, 2000) n");
  auto timer = stage.timer();
  EXPECT_EQ(timer->terminate(), 0) << timer->log();
  EXPECT_EQ(stage.fired(3) + stage.pending(), 2000);
}

// --- sessions of the dead --------------------------------------------------------------------------------------------

// A session id of this test process: advisory locks span the database, and other tests run beside this one.
std::int64_t id(int n) {
  static const std::int64_t base = random_session_id() / 16 * 16;
  return base + n;
}

// A worker as the database sees it: a session row, and its lock on this connection.
pg::Blocking worker(TimerStage& stage, std::int64_t session, const std::string& timeout = "1 hour") {
  auto connection = stage.schema().connect();
  const auto started = connection.query("SELECT start_session($1, 'w', 'resumer', '{}', '{}', $2::interval, '{}')",
                                        pg::Params(session, timeout));
  EXPECT_TRUE(started) << started.error().text;
  return connection;
}

std::int64_t sessions(TimerStage& stage, std::int64_t session) {
  return stage.count("SELECT count(*) FROM sessions WHERE session_id = $1", pg::Params(session));
}

TEST(TimerSessions, WithoutAHubTheSweepEndsThoseWhoseConnectionIsGone) {
  TimerStage stage({.timer = "50ms"});
  const auto alive = worker(stage, id(1));
  const auto timer = stage.timer();
  { const auto dead = worker(stage, id(2)); }
  EXPECT_TRUE(eventually([&] { return sessions(stage, id(2)) == 0; })) << timer->log();
  EXPECT_EQ(sessions(stage, id(1)), 1);
}

TEST(TimerSessions, TheDeathsBeforeItsStartAreFound) {
  TimerStage stage({});
  const auto alive = worker(stage, id(1));
  { const auto dead = worker(stage, id(2)); }
  const auto timer = stage.timer();
  EXPECT_TRUE(eventually([&] { return sessions(stage, id(2)) == 0; })) << timer->log();
  EXPECT_EQ(sessions(stage, id(1)), 1);
}

TEST(TimerSessions, AnExpiredSessionIsEndedAlthoughItsConnectionLives) {
  TimerStage stage({.timer = "50ms", .session = "1s"});
  const auto hung = worker(stage, id(1), "1 ms");
  const auto alive = worker(stage, id(2));
  const auto timer = stage.timer();
  EXPECT_TRUE(eventually([&] { return sessions(stage, id(1)) == 0; })) << timer->log();
  EXPECT_EQ(sessions(stage, id(2)), 1);
}

TEST(TimerSessions, TheHubsWordIsEnoughForAConnectionThatIsGone) {
  TimerStage stage({.listen = true});
  const auto listener = stage.listener();
  const auto timer = stage.timer("timer", true);
  const auto subscribe = [&](std::int64_t session) {
    auto socket = io::connect_unix(stage.dir().path() + "/hub.sock");
    EXPECT_TRUE(socket) << socket.error().text;
    const std::string hello =
        R"({"hello":1,"role":"resumer","group":"g","channels":["workflow_resumable"],"session":)" +
        std::to_string(session) + "}\n";
    EXPECT_EQ(::send(socket->get(), hello.data(), hello.size(), 0), static_cast<ssize_t>(hello.size()));
    char welcome = 0;  // it is known to the hub once it has been answered
    EXPECT_TRUE(eventually([&] { return ::recv(socket->get(), &welcome, 1, MSG_DONTWAIT) == 1; }));
    return std::move(*socket);
  };
  // Wait for the sweep that follows the timer's own subscription, so that only the hub's word is left.
  { const auto earlier = worker(stage, id(9)); }
  { auto killed = subscribe(id(9)); }
  ASSERT_TRUE(eventually([&] { return sessions(stage, id(9)) == 0; })) << timer->log();

  const auto lives = worker(stage, id(1));
  { auto hangs_up = subscribe(id(1)); }  // lost its hub, not its life
  {
    const auto dead = worker(stage, id(2));
    auto killed = subscribe(id(2));
  }
  EXPECT_TRUE(eventually([&] { return sessions(stage, id(2)) == 0; })) << timer->log();
  EXPECT_EQ(sessions(stage, id(1)), 1);
}

// --- retention -----------------------------------------------------------------------------------------------------

TEST(TimerRetention, RemovesWhatIsOldInBatchesOnItsOwnCountsItAndSaysSo) {
  TimerStage stage({.retention = "completed = \"500ms\"\noutbox_failed = \"1s\"\narchive = \"300ms\"\nmessages = \"300ms\"\n"
                                 "batch = 10\ninterval = \"50ms\"\n"});
  InvariantSampler sampler(stage.schema());
  stage.sql("SELECT count(start_workflow('w', '{}', 'old' || n)) FROM generate_series(1, 105) n");
  for (const std::string text : {"UPDATE instances SET status = 2, finished_at = clock_timestamp()", "DELETE FROM inbox", "DELETE FROM pokes"}) stage.sql(text);
  stage.sql("INSERT INTO history SELECT instance_id, 1, 1, 16, '', '1' FROM instances");
  stage.sql("INSERT INTO former_generations VALUES ('young', 0)");
  stage.sql("SELECT declare_channel('jobs', 'competing'), publish('jobs', '1'), add_outbox_event('t', 's', '1', 'failed'), "
            "add_outbox_event('t', 's', '1', 'pending')");
  stage.sql("UPDATE outbox SET status = 3 WHERE event_id = 'failed'");
  const auto timer = stage.timer();
  stage.instance("young");
  EXPECT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM instances") == 1; })) << timer->log();
  EXPECT_TRUE(eventually([&] {
    return stage.count("SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM channel_queue) + "
                       "(SELECT count(*) FROM former_generations) + (SELECT count(*) FROM outbox WHERE status = 3)") == 0;
  })) << timer->log();
  EXPECT_EQ(stage.count("SELECT count(*) FROM instances WHERE instance_id = 'young'"), 1) << "it has not finished";
  EXPECT_EQ(stage.count("SELECT count(*) FROM outbox WHERE event_id = 'pending'"), 1);
  EXPECT_TRUE(eventually([&] { return timer->logged("retention"); })) << timer->log();
}

// No poll, no hint: the alarm is set for the moment at which the next one is due, and for the shortest time while there is none.
TEST(TimerRetention, WhatEndsLaterIsRemovedAtItsTime) {
  TimerStage stage({.retention = "completed = \"700ms\"\ninterval = \"10ms\"\n"});
  const auto timer = stage.timer();
  stage.instance("one");
  stage.sql("UPDATE instances SET status = 2, finished_at = clock_timestamp()");
  EXPECT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM instances") == 0; })) << timer->log();
  EXPECT_GE(stage.count("SELECT new_life()"), 1);
}

TEST(TimerRetention, TwoTimersShareTheWork) {
  TimerStage stage({.retention = "completed = \"10ms\"\nbatch = 7\ninterval = \"20ms\"\n"});
  InvariantSampler sampler(stage.schema());
  const auto one = stage.timer("one"), two = stage.timer("two");
  stage.sql("SELECT count(start_workflow('w', '{}', 'old' || n)) FROM generate_series(1, 500) n");
  for (const std::string text : {"DELETE FROM inbox", "DELETE FROM pokes", "UPDATE instances SET status = 2, finished_at = clock_timestamp()"}) stage.sql(text);
  EXPECT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM instances") == 0; })) << one->log();
}

TEST(TimerRetention, ThatIsForEverRemovesNothing) {
  TimerStage stage({.retention = "completed = \"0ms\"\nfailed = \"10ms\"\ninterval = \"10ms\"\n"});
  const auto timer = stage.timer();
  for (const std::string id : {"completed", "failed"}) stage.instance(id);
  stage.sql("UPDATE instances SET status = CASE instance_id WHEN 'failed' THEN 3 ELSE 2 END, finished_at = clock_timestamp()");
  EXPECT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM instances WHERE instance_id = 'failed'") == 0; }));
  EXPECT_EQ(stage.count("SELECT count(*) FROM instances"), 1);
}

TEST(TimerRetention, GoesOnAfterItsConnectionWasCut) {
  TimerStage stage({.retention = "completed = \"300ms\"\ninterval = \"50ms\"\n"});
  const auto timer = stage.timer();
  const std::string log = timer->log(), word = " pid=", connected = log.substr(log.find("database_connected"));
  stage.sql("SELECT pg_terminate_backend(" + std::to_string(std::stoi(connected.substr(connected.find(word) + word.size()))) + ")");
  EXPECT_TRUE(eventually([&] { return timer->logged("database_away"); })) << timer->log();
  stage.instance("one");
  stage.sql("UPDATE instances SET status = 2, finished_at = clock_timestamp()");
  EXPECT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM instances") == 0; })) << timer->log();
}

}  // namespace
}  // namespace romancy::test
