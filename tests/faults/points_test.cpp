// P2, at the exact places: a process dies just before or just after each commit, send, acknowledgement and fork.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "common/base/test_point.hpp"
#include "tests/faults/site.hpp"

#ifdef ROMANCY_TEST_POINTS

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

// Each of `points` ends one process, once, at the 40th time it comes by.
void die_at(const char* id, const char* fault, std::vector<std::string> points, const std::function<void(Site&)>& meanwhile = {}) {
  TempDir once;
  std::string what;
  for (const auto& point : points) what += (what.empty() ? "" : ",") + point + "=crash@40";
  const auto reached = [points, dir = once.path()] {
    std::size_t there = 0;
    for (const auto& point : points) there += std::filesystem::exists(dir + "/" + point) ? 1 : 0;
    return there;
  };
  run({.id = id, .fault = fault, .bound = 3s,
       .inject = [&](Site& s) {
         if (meanwhile) meanwhile(s);
         EXPECT_TRUE(eventually([&] { return reached() == points.size(); })) << reached() << " of " << points.size();
         EXPECT_TRUE(eventually([&] { return s.all_ready(); })) << s.log();
       },
       .proof = [&](Site& s) {
         return reached() == points.size() && s.logged("died") >= static_cast<int>(points.size()) ? "died at each of " + std::to_string(points.size()) + " points" : "";
       },
       .options = {.supervisor = "restart_delay_max = \"1s\"\n",
                   .environment = {{"ROMANCY_TEST_POINTS", what}, {"ROMANCY_TEST_POINTS_ONCE", once.path()}}}});
}

TEST(FaultsSmoke, P2_BeforeAndAfterEveryCommit) {
  die_at("P2e", "workers, timer and relay die before and after COMMIT, claim, send and acknowledgement",
         {"resumer.commit.before", "resumer.commit.after", "timer.fire.before", "timer.fire.after", "relay.claim.after",
          "relay.send.before", "relay.send.after", "relay.acknowledge.before", "relay.acknowledge.after"});
}

TEST(Faults, P2_BeforeAndAfterClaimsAndHints) {
  die_at("P2f", "workers die before and after a claim, the listener before and after a hint",
         {"resumer.claim.before", "resumer.claim.after", "relay.claim.before", "listener.send.before", "listener.send.after"});
}

// fork fails once, while a worker is to be started again.
TEST(Faults, P2_ForkFailsOnce) {
  TempDir once;
  run({.id = "P2g", .fault = "fork fails, once", .bound = 2s,
       .inject = [](Site& s) { s.kill("worker.1"); },
       .proof = [](Site& s) { return s.logged("a test says so") > 0 ? std::string("tried again") : ""; },
       .options = {.supervisor = "restart_delay_max = \"1s\"\n",
                   .environment = {{"ROMANCY_TEST_POINTS", "supervisor.fork.before=error@6"}, {"ROMANCY_TEST_POINTS_ONCE", once.path()}}}});
}

}  // namespace
}  // namespace romancy::test

#endif
