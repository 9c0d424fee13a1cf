#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <set>

#include "common/proc/inherited.hpp"
#include "supervisor/plan.hpp"
#include "supervisor/spawn.hpp"
#include "supervisor/status.hpp"

namespace romancy::supervisor {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> names(const std::vector<Component>& components) {
  std::vector<std::string> out;
  for (const auto& component : components) out.push_back(component.name);
  return out;
}

TEST(Plan, ListenerFirstThenTimerRelayAndResumersInTheOrderOfTheFile) {
  auto config = proc::default_config();
  config.resumers = {{"orders", {"/opt/orders", "-x"}, 2}, {"mail", {"/opt/mail"}, 1}};
  const auto components = plan(config, "/usr/bin");
  EXPECT_THAT(names(components), ElementsAre("listener", "timer", "relay", "orders.1", "orders.2", "mail.1"));
  EXPECT_THAT(components[1].command, ElementsAre("/usr/bin/romancy-timer"));
  EXPECT_THAT(components[4].command, ElementsAre("/opt/orders", "-x"));
  std::set<int> slots;
  for (const auto& component : components) slots.insert(component.slot);
  EXPECT_EQ(slots.size(), components.size());
}

TEST(Plan, WhatIsSwitchedOffIsAbsentAndTheOthersKeepTheirSlots) {
  auto config = proc::default_config();
  config.resumers = {{"orders", {"/opt/orders"}, 1}};
  const int before = plan(config, "/usr/bin").back().slot;
  config.listener = proc::Listening::off;
  config.relay = false;
  const auto components = plan(config, "/usr/bin");
  EXPECT_THAT(names(components), ElementsAre("timer", "orders.1"));
  EXPECT_EQ(components.back().slot, before);
}

TEST(Plan, ProgramsAreWhereTheConfigurationSaysElseBesideThisOne) {
  auto config = proc::default_config();
  EXPECT_THAT(find_bin_dir(config), StartsWith("/"));
  config.bin_dir = "/opt/bin";
  EXPECT_EQ(find_bin_dir(config), "/opt/bin");
}

TEST(Spawn, ExitsAreDescribedAsOperatorsReadThem) {
  EXPECT_EQ(describe_exit(W_EXITCODE(78, 0)), "exit 78");
  EXPECT_EQ(describe_exit(W_EXITCODE(0, 9)), "signal 9");
}

TEST(Spawn, WhatIsMeantForTheSupervisorStaysWithIt) {
  ::setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
  ::setenv(proc::kEnvSlot, "7", 1);
  ::setenv("PGPASSFILE", "/etc/pass", 1);
  const auto environment = plain_environment();
  EXPECT_THAT(environment, Not(Contains(StartsWith("NOTIFY_SOCKET="))));
  EXPECT_THAT(environment, Not(Contains(StartsWith("ROMANCY_SLOT="))));
  EXPECT_THAT(environment, Contains("PGPASSFILE=/etc/pass"));
  for (const char* name : {"NOTIFY_SOCKET", proc::kEnvSlot, "PGPASSFILE"}) ::unsetenv(name);
}

TEST(Spawn, AProgramThatIsNotThereIsAnErrorThatNamesIt) {
  Program program;
  program.command = {"/nonexistent/romancy-timer"};
  const auto pid = spawn(program);
  ASSERT_FALSE(pid);
  EXPECT_EQ(pid.error().text, "cannot start /nonexistent/romancy-timer: No such file or directory");
  program.command = {"/tmp"};
  EXPECT_FALSE(spawn(program));
}

TEST(Status, HasEveryFieldOfTheContract) {
  const std::vector<ChildReport> children = {{"timer", "backoff", 0, 3, 0, "signal 9", "died"},
                                             {"relay", "ready", 7, 0, 12, "", ""}};
  const Json status = status_json(children, std::chrono::milliseconds(99));
  EXPECT_EQ(status["ok"], true);
  EXPECT_EQ(status["supervisor"]["uptime_ms"], 99);
  EXPECT_EQ(status["components"][0], Json::parse(R"({"name":"timer","state":"backoff","pid":0,"restarts":3,
                                                     "uptime_ms":0,"last_exit":"signal 9","why":"died"})"));
  EXPECT_TRUE(status["components"][1]["last_exit"].is_null());
}

}  // namespace
}  // namespace romancy::supervisor
