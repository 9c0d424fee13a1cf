// Hints on their whole way, under the real supervisor and with its status board: what forgers can cause, who polls when,
// and that no hint is lost with the process it went to.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <map>

#include "common/base/json.hpp"
#include "common/proc/board.hpp"
#include "listener/routes.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;
using proc::Counter;
using Clock = std::chrono::steady_clock;

constexpr auto kDebounce = 5ms;  // SweepIntervals

class Hints : public testing::Test {
 protected:
  void start(const std::string& poll, int workers = 1, const std::string& more = "") {
    schema_.run("CREATE TABLE effects (key text PRIMARY KEY, times int NOT NULL); CREATE TABLE gates (name text PRIMARY KEY)");
    config_ = dir_.write("romancy.toml",
                         "[database]\nurl = \"" + schema_.conninfo() + "\"\nschema = \"" + schema_.name() + "\"\n" +
                             "[runtime]\ndir = \"" + dir_.path() + "/run\"\n[poll]\n" + poll +
                             "[relay]\nurl = \"http://127.0.0.1:9/\"\n[[resumer]]\nname = \"test\"\ncommand = [\"" +
                             program_path("test_worker") + "\"]\nprocesses = " + std::to_string(workers) + "\n" + more);
    supervisor_ = std::make_unique<Daemon>(
        "romancy-supervisor", std::vector<std::string>{"--config", config_}, dir_.path() + "/log",
        std::map<std::string, std::string>{{"ROMANCY_TEST_PG", schema_.conninfo()}, {"ROMANCY_TEST_SCHEMA", schema_.name()}});
    ASSERT_TRUE(eventually([&] {
      auto board = proc::Board::open(dir_.path() + "/run/board");
      if (!board) return false;
      board_.emplace(std::move(*board));
      int live = 0;
      for (const auto& slot : board_->read()) live += slot.live && slot.state == proc::ProcState::ready ? 1 : 0;
      return live == 3 + workers;
    })) << supervisor_->log();
  }
  proc::SlotView slot(const std::string& component) {
    for (auto& slot : board_->read())
      if (slot.component == component) return slot;
    return {};
  }
  std::uint64_t count(const std::string& component, Counter counter) {
    return slot(component).counters[static_cast<std::size_t>(counter)];
  }
  bool completes(const std::string& id) {
    return eventually([&] {
      const auto rows = sql_.query("SELECT true FROM workflow_instances WHERE instance_id = $1 AND status = 'completed'",
                                   pg::Params(id));
      return rows && !rows->empty();
    });
  }
  void start_workflow(const std::string& id) {
    const auto started = sql_.query("SELECT start_workflow('echo', '1', $1)", pg::Params(id));
    ASSERT_TRUE(started.has_value()) << started.error().text;
  }

  Schema schema_;
  pg::Blocking sql_ = schema_.connect();
  TempDir dir_;
  std::string config_;
  std::optional<proc::Board> board_;
  std::unique_ptr<Daemon> supervisor_;
};

constexpr const char* kByHintsAlone =
    "workflow_interval = \"1h\"\ntimer_interval = \"1h\"\nchannel_timeout_interval = \"1h\"\noutbox_interval = \"1h\"\n"
    "fallback_interval = \"1h\"\ngap_spread = \"0ms\"\n";

TEST_F(Hints, ForgedNotificationsCauseABoundedNumberOfLooksAndNothingElse) {
  start(kByHintsAlone);
  const std::vector<std::string> components{"test.1", "timer", "relay"};
  std::map<std::string, std::uint64_t> before;
  for (const auto& name : components) before[name] = count(name, Counter::wakes_notified);
  const auto bad = count("listener", Counter::notifications_bad);
  const auto heard = count("listener", Counter::notifications);
  const auto pid = slot("listener").pid;
  // Whoever may connect can send them: this role may nothing else.
  const std::string forger = schema_.name() + "_forger";
  ASSERT_TRUE(sql_.query("CREATE ROLE " + forger).has_value());
  ASSERT_TRUE(sql_.query("SET ROLE " + forger).has_value());
  const auto begun = Clock::now();
  for (int batch = 0; batch < 100; ++batch) {  // 10,000, a tenth of them malformed
    for (const auto& [kind, payload] : std::map<std::string, std::string>{
             {"workflow_resumable", "json_build_object('instance_id', $1 || '-' || n, 'workflow_name', 'echo')::text"},
             {"timer_expired", "json_build_object('kind', 'sleep', 'timer_id', $1 || n, 'expires_at', '2001-01-01T00:00:00Z')::text"},
             {"outbox_pending", "json_build_object('event_id', repeat($1, 3000) || n)::text"},
             {"channel_message", "CASE WHEN n % 5 < 2 THEN '{\"instance_id\":\"' || $1 || n ELSE '{\"channel_name\":' || n || '}' END"}}) {
      const auto sent = sql_.query("SELECT count(pg_notify('" + schema_.name() + "_" + kind + "', " + payload +
                                       ")) FROM generate_series(1, 25) n",
                                   pg::Params(std::to_string(batch)));
      ASSERT_TRUE(sent.has_value()) << sent.error().text;
    }
  }
  ASSERT_TRUE(eventually([&] { return count("listener", Counter::notifications) >= heard + 10'000; })) << supervisor_->log();
  EXPECT_EQ(count("listener", Counter::notifications_bad), bad + 1'000);
  ASSERT_TRUE(sql_.query("RESET ROLE").has_value());
  ASSERT_TRUE(sql_.query("DROP ROLE " + forger).has_value());
  // An honest one comes through, behind all of them; so all are dealt with.
  start_workflow("honest");
  EXPECT_TRUE(completes("honest")) << supervisor_->log();
  const auto lasted = Clock::now() - begun;
  for (const auto& name : components) {
    const auto looks = count(name, Counter::wakes_notified) - before[name];
    // Two lanes of the timer count together.
    EXPECT_LE(looks, 2 * static_cast<std::uint64_t>(lasted / kDebounce + 2)) << name;
    EXPECT_GT(looks, 0u) << name;
    RecordProperty("looks_of_" + name, std::to_string(looks));
    std::printf("10,000 forged notifications in %lld ms: %s looked %llu times\n",
                static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(lasted).count()), name.c_str(),
                static_cast<unsigned long long>(looks));
  }
  EXPECT_EQ(slot("listener").pid, pid);
  EXPECT_EQ(count("listener", Counter::reconnects), 0u);
}

TEST_F(Hints, WhoIsDeafPollsAtTheShortIntervalAndWhoHearsAtTheFallbackOne) {
  start("workflow_interval = \"20ms\"\nfallback_interval = \"1h\"\ngap_spread = \"0ms\"\n");
  const auto romancy = [&](const std::string& command) {
    Daemon daemon("romancy", {"--config", config_, command, "listener"}, dir_.path() + "/cli.log");
    EXPECT_EQ(WEXITSTATUS(daemon.wait()), 0) << daemon.log();
  };
  const auto swept = [&] { return count("test.1", Counter::wakes_swept); };
  const auto heard = swept();
  for (int i = 0; i < 30; ++i) {
    start_workflow("heard-" + std::to_string(i));
    ASSERT_TRUE(completes("heard-" + std::to_string(i)));
  }
  EXPECT_LE(swept(), heard + 2);  // the looks after the two resyncs of its start may still have been due
  romancy("stop");
  ASSERT_TRUE(eventually([&] { return swept() >= heard + 10; })) << supervisor_->log();
  EXPECT_FALSE(slot("test.1").live);
  romancy("start-component");
  ASSERT_TRUE(eventually([&] { return slot("test.1").live; })) << supervisor_->log();
  const auto again = swept();
  for (int i = 0; i < 30; ++i) {
    start_workflow("again-" + std::to_string(i));
    ASSERT_TRUE(completes("again-" + std::to_string(i)));
  }
  EXPECT_LE(swept(), again + 2);
}

TEST_F(Hints, WhenTheListenerIsKilledWorkGoesOnThroughItsResyncAlone) {
  start(kByHintsAlone);
  for (int round = 0; round < 3; ++round) {
    const std::string id = "in-the-gap-" + std::to_string(round);
    const auto pid = slot("listener").pid;
    ASSERT_EQ(::kill(static_cast<pid_t>(pid), SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return process_gone(static_cast<pid_t>(pid)); }));
    const auto begun = Clock::now();
    start_workflow(id);  // nobody hears it
    ASSERT_TRUE(completes(id)) << supervisor_->log();
    std::printf("the listener was killed: work went on after %lld ms\n",
                static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count()));
    ASSERT_TRUE(eventually([&] { return slot("listener").live && slot("test.1").live; }));
  }
  EXPECT_EQ(supervisor_->running(), true);
}

// Nothing but a hint starts a look here, and this hint goes to a process that will never look.
TEST_F(Hints, AHintThatWentToAStoppedWorkerIsNotLostWithIt) {
  start(kByHintsAlone, 2, "[supervisor]\nhang_timeout = \"1h\"\n");
  // Each has had a wake, so it has also had the resyncs before it: no look is due any more.
  for (int i = 0; count("test.1", Counter::wakes_notified) == 0 || count("test.2", Counter::wakes_notified) == 0; ++i) {
    ASSERT_LT(i, 1000);
    start_workflow("before-" + std::to_string(i));
    ASSERT_TRUE(completes("before-" + std::to_string(i)));
  }
  const auto stopped = static_cast<pid_t>(slot("test.1").pid);
  const auto other = static_cast<pid_t>(slot("test.2").pid);
  ASSERT_EQ(::kill(stopped, SIGSTOP), 0);
  // A look of the other one that was not over yet may be faster than the hub's patience: then that hint proved nothing.
  for (int i = 0, tries = 0; count("listener", Counter::hub_stalled) == 0; ++i) {
    const std::string id = "order-" + std::to_string(i);
    if (listener::rendezvous(id, static_cast<std::uint64_t>(stopped)) <
        listener::rendezvous(id, static_cast<std::uint64_t>(other))) {
      continue;  // the other one's
    }
    ASSERT_LT(tries++, 20) << supervisor_->log();
    const auto begun = Clock::now();
    start_workflow(id);
    ASSERT_TRUE(completes(id)) << supervisor_->log();
    std::printf("a hint went to a stopped worker: work went on after %lld ms\n",
                static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count()));
  }
  EXPECT_EQ(count("listener", Counter::hub_stalled), 1u);
  EXPECT_TRUE(eventually([&] { return count("listener", Counter::hub_departures) == 1; }));
  EXPECT_EQ(static_cast<pid_t>(slot("test.1").pid), stopped) << "nobody else was there to do it";
  ::kill(stopped, SIGCONT);
}

TEST_F(Hints, StatusShowsHowLongANotificationTakes) {
  start(kByHintsAlone);
  std::string shown;
  ASSERT_TRUE(eventually([&] {
    const std::string log = dir_.path() + "/status.json";
    std::remove(log.c_str());
    Daemon daemon("romancy", {"--config", config_, "status", "--json"}, log);
    daemon.wait();
    shown = daemon.log();
    const auto status = parse_json(shown, "status");
    if (!status) return false;
    for (const auto& component : (*status)["components"]) {
      if (component.value("name", "") != "listener") continue;
      const auto& latency = component["latency"];
      return latency.contains("heartbeat_time") && latency["heartbeat_time"].value("count", 0) >= 1 &&
             latency["heartbeat_time"].value("p99_us", 0) > 0;
    }
    return false;
  })) << shown;
}

}  // namespace
}  // namespace romancy::test
