// What goes wrong with a child, with the supervisor itself, with the machine. No database.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/proc/board.hpp"
#include "tests/process/supervisor_stage.hpp"

namespace romancy::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::uint64_t claims_of(const Stage& stage, const std::string& component) {
  const auto board = proc::Board::open(stage.path("run/board"));
  if (!board) return 0;
  for (const auto& view : board->read()) {
    if (view.component == component) return view.counters[static_cast<std::size_t>(proc::Counter::claims)];
  }
  return 0;
}

pid_t left_child(const Stage& stage) {
  for (const auto& line : stage.events()) {
    if (const auto at = line.find(" child "); at != std::string::npos) return std::stoi(line.substr(at + 7));
  }
  return 0;
}

// PR_SET_PDEATHSIG is lost when a program changes its user or its capabilities, say: the control socket tells too.
TEST(Trouble, AChildWithoutADeathSignalEndsWithItsSupervisorAllTheSame) {
  Stage stage;
  stage.does("relay", "no-pdeathsig");
  stage.does("orders.1", "no-pdeathsig");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t relay = stage.component("relay")["pid"], orders = stage.component("orders.1")["pid"];
  stage.supervisor().kill9();
  EXPECT_TRUE(eventually([&] { return process_gone(relay) && process_gone(orders); }));
  EXPECT_TRUE(stage.supervisor().logged("relay: draining why=\"the supervisor is gone\""));
}

TEST(Trouble, AGrandchildDiesWithItsParentAtAHardStop) {
  Stage stage("stop_timeout = \"1h\"");
  stage.does("orders.1", "leaves-a-child");
  stage.does("relay", "slow");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const pid_t grandchild = left_child(stage);
  ASSERT_GT(grandchild, 0);
  EXPECT_FALSE(process_gone(grandchild));
  ASSERT_EQ(::kill(stage.component("orders.1")["pid"], SIGKILL), 0);  // its group goes with it
  EXPECT_TRUE(eventually([&] { return process_gone(grandchild); }));
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  stage.supervisor().signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "draining"); }));
  stage.supervisor().signal(SIGTERM);
  EXPECT_EQ(stage.supervisor().wait(), 0);
  for (const pid_t pid : stage.pids()) EXPECT_TRUE(eventually([&] { return process_gone(pid); })) << pid;
}

TEST(Trouble, AStoppedChildThatIgnoresTheAbortIsKilled) {
  Stage stage("hang_timeout = \"4s\"");
  stage.does("orders.1", "ignores-abort");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  stage.does("orders.1", "");
  const pid_t before = stage.component("orders.1")["pid"];
  // Stopped again and again: SIGCONT comes with SIGABRT, and is of no use to who ignores that.
  ASSERT_EQ(::kill(before, SIGSTOP), 0);
  ASSERT_TRUE(eventually([&] {
    if (stage.component("orders.1")["restarts"] == 0) ::kill(before, SIGSTOP);
    return stage.component("orders.1")["restarts"] == 1 && stage.is("orders.1", "ready");
  }));
  EXPECT_EQ(stage.component("orders.1")["last_exit"], "signal 9");
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

// P5: only the supervisor stood still; its children beat all the time.
TEST(Trouble, ASupervisorThatWasStoppedKillsNobodyWhenItGoesOn) {
  Stage stage("hang_timeout = \"2s\"");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready(); }));
  const auto board = proc::Board::open(stage.path("run/board"));
  ASSERT_TRUE(board);
  const auto beats = [&] {
    std::uint64_t least = ~0ull;
    for (const auto& view : board->read()) least = std::min(least, view.beats);
    return least;
  };
  stage.supervisor().signal(SIGSTOP);
  const auto then = beats();
  ASSERT_TRUE(eventually([&] { return beats() > then + 3; }));  // they work on
  stage.supervisor().signal(SIGCONT);
  const auto after = beats();
  ASSERT_TRUE(eventually([&] { return beats() > after + 3; }));
  ASSERT_TRUE(stage.all_ready());
  for (const char* name : {"listener", "timer", "relay", "orders.1", "orders.2"}) {
    EXPECT_EQ(stage.component(name)["restarts"], 0) << name;
  }
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Trouble, ADatabaseThatIsAwayIsNeverACrashHoweverOftenAProgramEndsOverIt) {
  Stage stage("restart_delay = \"1ms\"\nrestart_delay_max = \"20ms\"");
  stage.does("orders.1", "database-away");
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.component("orders.1")["restarts"] >= 12; }));
  EXPECT_THAT(stage.supervisor().log(), Not(HasSubstr("throttled")));
  EXPECT_EQ(stage.component("orders.1")["last_exit"], "exit 75");
  EXPECT_TRUE(stage.is("orders.2", "ready"));
  stage.does("orders.1", "");
  EXPECT_TRUE(eventually([&] { return stage.is("orders.1", "ready"); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Trouble, WhatCannotBeExecutedWaitsLongAndAnOperatorNeedNot) {
  Stage stage("restart_delay = \"1ms\"\nrestart_delay_max = \"1ms\"");
  const std::string relay = stage.path("bin/romancy-relay"), timer = stage.path("bin/romancy-timer");
  std::filesystem::remove(relay);
  std::ofstream(relay) << "#!/nonexistent/interpreter\n";
  std::filesystem::permissions(relay, std::filesystem::perms::owner_all);
  std::filesystem::remove(timer);
  std::ofstream(timer) << "no program\n";
  std::filesystem::permissions(timer, std::filesystem::perms::owner_read);
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.is("relay", "backoff") && stage.is("timer", "backoff"); }));
  EXPECT_THAT(stage.component("relay")["why"], HasSubstr("cannot execute " + relay));
  EXPECT_THAT(stage.component("relay")["why"], HasSubstr("tried again in 5s"));
  EXPECT_THAT(stage.component("timer")["why"], HasSubstr("not an executable file; tried again in 5s"));
  ASSERT_TRUE(eventually([&] {  // the second time it waits longer
    return stage.component("timer")["why"].get<std::string>().find("tried again in 60s") != std::string::npos;
  }));
  EXPECT_TRUE(stage.is("orders.1", "ready"));
  for (const std::string& path : {relay, timer}) {
    std::filesystem::remove(path);
    std::filesystem::create_symlink(SUPERVISOR_CHILD, path);
  }
  EXPECT_EQ(stage.ask({{"command", "start"}, {"component", "all"}})["ok"], true);
  EXPECT_TRUE(eventually([&] { return stage.all_ready(); }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Trouble, TheCountersGoOnAlsoWhenItWasTheSupervisorThatDied) {
  Stage stage;
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready() && claims_of(stage, "timer") == 1; }));
  stage.supervisor().kill9();
  stage.start();
  ASSERT_TRUE(eventually([&] { return stage.all_ready() && claims_of(stage, "timer") == 2; }));
  EXPECT_EQ(stage.supervisor().terminate(), 0);
}

TEST(Trouble, ACopyOfTheConfigurationThatMayHoldAPasswordIsForNobodyElse) {
  Stage stage;
  stage.start();
  struct stat status {};
  ASSERT_EQ(::stat(stage.path("run/config.toml").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(stage.supervisor().terminate(), 0);
  EXPECT_FALSE(std::filesystem::exists(stage.path("run/config.toml")));
}

}  // namespace
}  // namespace romancy::test
