// The whole suite through the supervisor's binary, on a PostgreSQL server of its own: every process is killed while
// workflows run (the relay with events in hand: relay_test.cpp), the server is restarted, the supervisor is killed. Nothing may be lost or done twice.
#include <gtest/gtest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>

#include "common/base/unique_fd.hpp"
#include "common/pg/blocking.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {
namespace {

// A file of /proc; empty when its process has just ended (a stream would throw).
std::string read_proc(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(1 << 16, '\0');
  const auto got = file ? ::read(file.get(), text.data(), text.size()) : -1;
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

int count_in(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// The pids of the processes that run on this test's configuration, by program name.
std::multimap<std::string, pid_t> processes_of(const std::string& config) {
  std::multimap<std::string, pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = std::stoi(name);
    const std::string variables = read_proc(entry.path() / "environ");
    std::string command = read_proc(entry.path() / "cmdline");
    if (process_gone(pid)) continue;
    if (variables.find("ROMANCY_CONFIG=" + config) == std::string::npos && command.find(config) == std::string::npos) continue;
    command.erase(std::min(command.find('\0'), command.size()));  // all but argv[0]
    found.emplace(std::filesystem::path(command).filename(), pid);
  }
  return found;
}

class Suite : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ::setenv("ROMANCY_TEST_PG", cluster_.conninfo().c_str(), 1);  // the worker's activities connect by it
    ::setenv("ROMANCY_TEST_SCHEMA", "romancy", 1);
    config_ = dir_.write("romancy.toml",
                         "[database]\nurl = \"" + cluster_.conninfo() + "\"\nmigrate = true\n" +
                         "[runtime]\ndir = \"" + dir_.path() + "/run\"\n" +
                         "[listener]\nenabled = " + (GetParam() ? "true" : "false") + "\nreconnect_delay_max = \"500ms\"\n" +
                         "[poll]\nworkflow_interval = \"100ms\"\ntimer_interval = \"100ms\"\nchannel_timeout_interval = \"100ms\"\n"
                         "fallback_interval = \"5s\"\n"
                         "[session]\ntimeout = \"" + session_timeout() + "\"\n"
                         "[supervisor]\nrestart_delay = \"50ms\"\n" + supervisor_keys() +
                         "[[resumer]]\nname = \"test\"\ncommand = [\"" + program_path("test_worker") + "\"]\nprocesses = 2\n");
    start_supervisor();
  }

  [[nodiscard]] virtual std::string session_timeout() const { return "2s"; }
  [[nodiscard]] virtual std::string supervisor_keys() const { return ""; }

  void start_supervisor() {
    supervisor_ = std::make_unique<Daemon>("romancy-supervisor", std::vector<std::string>{"--config", config_},
                                           dir_.path() + "/log");
    ASSERT_TRUE(eventually([&] { return processes_of(config_).count("test_worker") == 2; })) << supervisor_->log();
    if (!tables_made_) {
      ASSERT_TRUE(eventually([&] { return ask("SELECT to_regclass('romancy.instances') IS NOT NULL") == "t"; }));
      run("CREATE TABLE romancy.effects (key text PRIMARY KEY, times int NOT NULL)");
      run("CREATE TABLE romancy.gates (name text PRIMARY KEY)");
      add_guard(*client_);
      tables_made_ = true;
      pg::ConnOptions options;
      options.conninfo = cluster_.conninfo();
      sampler_ = std::make_unique<InvariantSampler>(options);
    }
  }

  // .. while processes of the former one are still on their way out.
  void start_supervisor_beside() {
    supervisor_ = std::make_unique<Daemon>("romancy-supervisor", std::vector<std::string>{"--config", config_},
                                           dir_.path() + "/log");
  }

  // Empty when the server is away.
  std::string ask(const std::string& sql) {
    if (!client_) {
      pg::ConnOptions options;
      options.conninfo = cluster_.conninfo();
      options.application_name = "suite_test";
      auto connected = pg::Blocking::connect(options);
      if (!connected) return "";
      client_ = std::make_unique<pg::Blocking>(std::move(*connected));
    }
    auto rows = client_->query(sql);
    if (!rows) {
      if (rows.error().kind == ErrorKind::retry) client_.reset();
      return "";
    }
    return rows->empty() || rows->is_null(0, 0) ? "" : rows->str(0, 0);
  }
  void run(const std::string& sql) {
    ASSERT_TRUE(eventually([&] {
      if (!client_) ask("SELECT 1");
      if (!client_) return false;
      auto rows = client_->script(sql);
      if (!rows && rows.error().kind == ErrorKind::retry) client_.reset();
      return rows.has_value();
    })) << sql;
  }

  void start_workflows(int count) {
    for (int i = 0; i < count; ++i) {
      run("SELECT start_workflow('naps', '6', 'n" + std::to_string(i) + "')");
    }
  }
  void expect_all_done(int count) {
    EXPECT_TRUE(eventually([&] {
      return ask("SELECT count(*) FROM workflow_instances WHERE status = 'completed'") == std::to_string(count);
    })) << ask("SELECT string_agg(instance_id || ' ' || status, ', ') FROM workflow_instances WHERE status <> 'completed'")
        << supervisor_->log();
    // Every step of every workflow, each under one key; an attempt cut short may have been made again.
    EXPECT_EQ(ask("SELECT count(*) FROM effects"), std::to_string(count * 6));
    EXPECT_EQ(ask("SELECT count(*) FROM history WHERE kind = 2"), std::to_string(count * 6));
    EXPECT_EQ(ask("SELECT count(*) FROM inbox"), "0");
    EXPECT_EQ(ask("SELECT count(*) FROM deadlines"), "0");
    testing::AssertionResult last = testing::AssertionFailure() << "never asked";
    EXPECT_TRUE(eventually([&] { return client_ && (last = check_quiescent(*client_)); })) << last.message();
  }

  void kill_one(const std::string& program) {
    const auto running = processes_of(config_);
    const auto victim = running.find(program);
    ASSERT_NE(victim, running.end()) << program << " does not run";
    const pid_t pid = victim->second;
    const auto before = running.count(program);
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    // It is gone, and as many as before run again.
    EXPECT_TRUE(eventually([&] { return process_gone(pid) && processes_of(config_).count(program) == before; }))
        << supervisor_->log();
  }

  PrivateCluster cluster_;
  TempDir dir_;
  std::string config_;
  std::unique_ptr<Daemon> supervisor_;
  std::unique_ptr<pg::Blocking> client_;
  std::unique_ptr<InvariantSampler> sampler_;
  bool tables_made_ = false;
};

INSTANTIATE_TEST_SUITE_P(Modes, Suite, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "Listening" : "PollingAlone"; });

TEST_P(Suite, EveryProcessMayBeKilledWithWorkInHand) {
  start_workflows(40);
  if (GetParam()) kill_one("romancy-listener");
  kill_one("romancy-timer");
  kill_one("test_worker");
  kill_one("romancy-relay");
  kill_one("test_worker");
  expect_all_done(40);
  EXPECT_EQ(supervisor_->terminate(), 0) << supervisor_->log();
  EXPECT_TRUE(processes_of(config_).empty());
}

TEST_P(Suite, APostgresThatIsRestartedLosesNothing) {
  start_workflows(40);
  cluster_.stop("immediate");
  cluster_.start();
  client_.reset();
  expect_all_done(40);
  start_workflows(50);  // the first 40 are known already
  expect_all_done(50);
  EXPECT_EQ(supervisor_->terminate(), 0) << supervisor_->log();
}

TEST_P(Suite, IsUpgradedAgainAndAgainAndReloadedUnderLoadAndLosesNothing) {
  start_workflows(60);
  const auto pids = [&] {
    std::set<pid_t> all;
    for (const auto& [program, pid] : processes_of(config_)) {
      if (program != "romancy-supervisor") all.insert(pid);
    }
    return all;
  };
  for (int n = 1; n <= 3; ++n) {
    const auto before = pids();
    supervisor_->signal(SIGUSR2);
    ASSERT_TRUE(eventually([&] {
      const auto now = pids();
      const auto is_old = [&](pid_t pid) { return before.contains(pid); };
      return count_in(supervisor_->log(), "supervisor: upgraded") == n && now.size() == before.size() &&
             std::none_of(now.begin(), now.end(), is_old);
    })) << supervisor_->log();
    EXPECT_TRUE(supervisor_->running());
  }
  std::string text = read_proc(config_);
  text.replace(text.find("timer_interval = \"100ms\""), 24, "timer_interval = \"150ms\"");
  dir_.write("romancy.toml", text);
  supervisor_->signal(SIGHUP);
  ASSERT_TRUE(eventually([&] { return supervisor_->logged("supervisor: reloaded restarted=1 started=0 stopped=0"); }))
      << supervisor_->log();
  expect_all_done(60);
  if (GetParam()) {
    EXPECT_TRUE(eventually([&] {
      return ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'romancy-listener'") == "1";
    }));
  }
  EXPECT_EQ(supervisor_->terminate(), 0) << supervisor_->log();
  EXPECT_TRUE(processes_of(config_).empty());
}

// Sessions do not expire here: what goes on does so because somebody saw the death.
class Deaths : public Suite {
 protected:
  [[nodiscard]] std::string session_timeout() const override { return "1h"; }

  // One workflow in an activity that ends when its gate opens; returns when it has begun.
  void hold_one() {
    run("SELECT start_workflow('holder', '\"gate\"', 'h')");
    ASSERT_TRUE(eventually([&] { return begun() == 1; })) << supervisor_->log();
  }
  int begun() {
    const std::string times = ask("SELECT times FROM effects WHERE key = 'held|gate'");
    return times.empty() ? 0 : std::stoi(times);
  }
  pid_t holder() {  // the worker that has it
    const std::string worker = ask("SELECT s.worker FROM instances i JOIN sessions s USING (session_id) WHERE i.instance_id = 'h'");
    for (const auto& [program, pid] : processes_of(config_)) {
      if (program == "test_worker" && read_proc("/proc/" + std::to_string(pid) + "/environ").find("ROMANCY_COMPONENT=" + worker + '\0') != std::string::npos) return pid;
    }
    return 0;
  }
  void expect_it_ends() {
    run("INSERT INTO gates VALUES ('gate')");
    EXPECT_TRUE(eventually([&] { return ask("SELECT status FROM workflow_instances WHERE instance_id = 'h'") == "completed"; }));
    EXPECT_EQ(supervisor_->terminate(), 0) << supervisor_->log();
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, Deaths, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "Listening" : "PollingAlone"; });

TEST_P(Deaths, TheWorkOfAKilledWorkerGoesOnAtOnce) {
  hold_one();
  const pid_t worker = holder();
  ASSERT_GT(worker, 0) << ask("SELECT string_agg(worker, ', ') FROM sessions");
  const auto then = std::chrono::steady_clock::now();
  ASSERT_EQ(::kill(worker, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return begun() == 2; })) << supervisor_->log();
  RecordProperty("ms", static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - then).count()));
  expect_it_ends();
}

TEST_P(Deaths, TheWorkOfAKilledSupervisorsWorkersGoesOnAsSoonAsThereIsAnother) {
  hold_one();
  supervisor_->kill9();
  for (const auto& [program, pid] : processes_of(config_)) ::kill(pid, SIGKILL);  // and nobody could take leave
  ASSERT_TRUE(eventually([&] { return processes_of(config_).empty(); }));
  const auto then = std::chrono::steady_clock::now();
  start_supervisor();
  ASSERT_TRUE(eventually([&] { return begun() == 2; })) << supervisor_->log();
  RecordProperty("ms", static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - then).count()));
  expect_it_ends();
}

TEST_P(Deaths, AWorkerWhoseSupervisorWasKilledFinishesWhatItHasInHandAndHandsOverTheRest) {
  hold_one();
  supervisor_->kill9();
  start_supervisor_beside();
  run("SELECT start_workflow('naps', '3', 'n0')");
  EXPECT_TRUE(eventually([&] { return ask("SELECT status FROM workflow_instances WHERE instance_id = 'n0'") == "completed"; }))
      << supervisor_->log();
  EXPECT_EQ(begun(), 1);  // the old one still has it
  expect_it_ends();
}

class Hurries : public Deaths {
 protected:
  [[nodiscard]] std::string supervisor_keys() const override { return "stop_timeout = \"2s\"\n"; }
  int cli(const std::string& command) {
    return std::system((program_path("romancy") + " --config " + config_ + " " + command + " > /dev/null").c_str());
  }
  bool stopped() { return processes_of(config_).count("test_worker") == 0; }
  // How the instance came back: with a crash, which counts against it, or without.
  std::string given_back() { return ask("SELECT data ->> 'crash' FROM inbox WHERE instance_id = 'h' AND kind = 7"); }
};

INSTANTIATE_TEST_SUITE_P(Modes, Hurries, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "Listening" : "PollingAlone"; });

TEST_P(Hurries, AWorkerThatIsStoppedGivesBackWhatOutlastsTheStop) {
  hold_one();
  ASSERT_EQ(cli("stop test"), 0);
  ASSERT_TRUE(eventually([&] { return stopped(); })) << supervisor_->log();
  EXPECT_EQ(given_back(), "false");
  ASSERT_EQ(cli("start-component test"), 0);
  expect_it_ends();
}

TEST_P(Hurries, AlsoWhenItWasDrainingWithoutALimitBefore) {
  hold_one();
  ASSERT_EQ(cli("drain test"), 0);
  ASSERT_TRUE(eventually([&] { return processes_of(config_).count("test_worker") == 1; })) << "the one without work";
  ASSERT_EQ(cli("stop test"), 0);
  ASSERT_TRUE(eventually([&] { return stopped(); })) << supervisor_->log();
  EXPECT_EQ(given_back(), "false");
  ASSERT_EQ(cli("start-component test"), 0);
  expect_it_ends();
}

TEST_P(Suite, AKilledSupervisorLeavesNoOrphanAndTheNextOneGoesOn) {
  start_workflows(30);
  supervisor_->kill9();
  EXPECT_TRUE(eventually([&] { return processes_of(config_).empty(); }));
  start_supervisor();
  expect_all_done(30);
  EXPECT_EQ(supervisor_->terminate(), 0) << supervisor_->log();
  EXPECT_TRUE(processes_of(config_).empty());
}

}  // namespace
}  // namespace romancy::test
