// The whole suite through the supervisor's binary, on a PostgreSQL server of its own: every process is killed while
// workflows run (the relay with events in hand: relay_test.cpp), the server is restarted, the supervisor is killed. Nothing may be lost or done twice.
#include <gtest/gtest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

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
                         "[session]\ntimeout = \"2s\"\n"
                         "[supervisor]\nrestart_delay = \"50ms\"\n"
                         "[[resumer]]\nname = \"test\"\ncommand = [\"" + program_path("test_worker") + "\"]\nprocesses = 2\n");
    start_supervisor();
  }

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
