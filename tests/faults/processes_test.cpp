// P1..P12: processes that die, stop, do not start, do not end.
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/faults/site.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;

std::string restarted(Site& site, const std::string& component, int at_least = 1) {
  const auto times = site.restarts(component);
  return times >= at_least ? component + " restarted " + std::to_string(times) + " times" : "";
}

TEST(FaultsSmoke, P1_ListenerKilled) {
  run({.id = "P1", .fault = "the listener is killed", .bound = 2s,
       .inject = [](Site& s) { s.kill("listener"); },
       .proof = [](Site& s) { return restarted(s, "listener"); }});
}

}  // namespace
}  // namespace romancy::test
