#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <set>

#include "common/proc/inherited.hpp"
#include "common/proc/board.hpp"
#include "supervisor/handover.hpp"
#include "supervisor/plan.hpp"
#include "supervisor/rollout.hpp"
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
  config.resumers = {{"orders", {"/opt/orders", "-x"}, 2, "2026-11"}, {"mail", {"/opt/mail"}, 1}};
  const auto components = plan(config, "/usr/bin");
  EXPECT_THAT(names(components), ElementsAre("listener", "timer", "relay", "orders.1", "orders.2", "mail.1"));
  EXPECT_THAT(components[1].command, ElementsAre("/usr/bin/romancy-timer"));
  EXPECT_THAT(components[4].command, ElementsAre("/opt/orders", "-x"));
  EXPECT_EQ(components[4].version, "2026-11");
  EXPECT_EQ(components[5].version, "");
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

std::vector<std::string> board_of(const std::vector<std::pair<int, std::string>>& used) {
  std::vector<std::string> names(proc::kSlots);
  for (const auto& [slot, name] : used) names[static_cast<std::size_t>(slot)] = name;
  return names;
}

TEST(Slots, GoByTheNameThatIsOnTheBoardSoThatCountersGoOn) {
  std::vector<Component> components = {{"timer", Kind::timer, {}, 1}, {"mail.1", Kind::resumer, {}, 3}, {"orders.1", Kind::resumer, {}, 4}};
  EXPECT_THAT(assign_slots(components, board_of({{1, "timer"}, {3, "orders.1"}}), {}), ::testing::IsEmpty());
  EXPECT_EQ(components[0].slot, 1);
  EXPECT_EQ(components[2].slot, 3) << "where it was, though another stands there now in the configuration";
  EXPECT_NE(components[1].slot, 3);
  EXPECT_EQ(board_of({{1, "timer"}, {3, "orders.1"}})[static_cast<std::size_t>(components[1].slot)], "");
}

TEST(Slots, OnesThatStillRunAreNeverGivenAwayAndUsedOnesOnlyWhenNoneIsNew) {
  std::vector<std::pair<int, std::string>> full;
  for (int slot = 0; slot < proc::kSlots; ++slot) full.emplace_back(slot, "old." + std::to_string(slot));
  std::vector<Component> components = {{"new.1", Kind::resumer, {}, 3}};
  EXPECT_THAT(assign_slots(components, board_of(full), {0, 1, 2, 3, 4}), ElementsAre(5));
  EXPECT_EQ(components[0].slot, 5);
  full[9].second.clear();
  EXPECT_THAT(assign_slots(components, board_of(full), {0, 1, 2}), ::testing::IsEmpty());
  EXPECT_EQ(components[0].slot, 9);
}

TEST(Rollout, EveryStateOfAReplacementHasItsVerdict) {
  using S = ChildState;
  using namespace std::chrono_literals;
  const auto verdict = [](S state, bool is_new, std::chrono::milliseconds age = 1s, bool must_hear = false, bool hears = false, bool former_hears = false) {
    return judge({.state = state, .is_new = is_new, .age = age, .must_hear = must_hear, .hears = hears, .former_hears = former_hears}, 30s);
  };
  EXPECT_EQ(verdict(S::ready, false), Standing::wait) << "the old one, which has not been told yet";
  EXPECT_EQ(verdict(S::ready, true), Standing::settled);
  EXPECT_EQ(verdict(S::restarting, false), Standing::wait);
  EXPECT_EQ(verdict(S::draining, false), Standing::wait);
  EXPECT_EQ(verdict(S::starting, true), Standing::wait);
  EXPECT_EQ(verdict(S::starting, true, 31s), Standing::settled) << "it lives: the database is away";
  EXPECT_EQ(verdict(S::backoff, true), Standing::halt);
  EXPECT_EQ(verdict(S::held, true), Standing::halt);
  EXPECT_EQ(verdict(S::exited, false), Standing::settled) << "an operator stopped it";
  EXPECT_EQ(verdict(S::ready, true, 1s, true, false), Standing::wait) << "a listener that does not hear yet";
  EXPECT_EQ(verdict(S::ready, true, 1s, true, true), Standing::settled);
  EXPECT_EQ(verdict(S::ready, true, 14s, true, false, false), Standing::wait);
  EXPECT_EQ(verdict(S::ready, true, 16s, true, false, false), Standing::settled) << "nobody can hear: the database is away";
  EXPECT_EQ(verdict(S::ready, true, 16s, true, false, true), Standing::wait) << "the former one hears: it must not leave";
  EXPECT_EQ(verdict(S::ready, true, 61s, true, false, true), Standing::halt) << "nor wait for ever";
}

TEST(Handover, IsReadAsItWasWrittenAndAnotherVersionIsRefused) {
  Json state{{"version", 1}, {"path", ""}, {"in_effect", ""}, {"lock", 3}, {"board", 4}, {"hub", -1}, {"control", 5},
             {"started_at", 1}, {"level", ""}, {"children", Json::array()}, {"leaving", Json::array()}};
  const auto fd = write_handover(state);
  ASSERT_TRUE(fd);
  for (int n = 0; n < 2; ++n) EXPECT_EQ(read_handover(fd->get()).value(), state) << "from its beginning each time";
  state["version"] = 2;
  const auto other = read_handover(write_handover(state)->get());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().text, "handover: this program understands version 1, not 2");
  state["version"] = 1;
  state.erase("lock");
  EXPECT_FALSE(read_handover(write_handover(state)->get()));
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
  ::setenv(proc::kEnvVersion, "v1", 1);
  ::setenv("PGPASSFILE", "/etc/pass", 1);
  const auto environment = plain_environment();
  EXPECT_THAT(environment, Not(Contains(StartsWith("NOTIFY_SOCKET="))));
  EXPECT_THAT(environment, Not(Contains(StartsWith("ROMANCY_SLOT="))));
  EXPECT_THAT(environment, Not(Contains(StartsWith("ROMANCY_WORKER_VERSION="))));
  EXPECT_THAT(environment, Contains("PGPASSFILE=/etc/pass"));
  for (const char* name : {"NOTIFY_SOCKET", proc::kEnvSlot, proc::kEnvVersion, "PGPASSFILE"}) ::unsetenv(name);
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
  const Json status = status_json(children, std::chrono::milliseconds(99), "a note");
  EXPECT_EQ(status["ok"], true);
  EXPECT_EQ(status["supervisor"]["uptime_ms"], 99);
  EXPECT_EQ(status["supervisor"]["note"], "a note");
  EXPECT_EQ(status_line(children, "a note"), "1 of 2 processes are ready; timer backoff; a note");
  EXPECT_EQ(status["components"][0], Json::parse(R"({"name":"timer","state":"backoff","pid":0,"restarts":3,
                                                     "uptime_ms":0,"last_exit":"signal 9","why":"died"})"));
  EXPECT_TRUE(status["components"][1]["last_exit"].is_null());
}

}  // namespace
}  // namespace romancy::supervisor
