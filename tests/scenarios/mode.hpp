// Mode: how the parts of an installation hear of each other, and whether suspended workflows stay in memory.
//
// Every scenario is written once and runs in all six:
//   Notified      everything is heard, and the fallback is five minutes away: a wake-up that is lost is a failure
//   Unnotified    the listener runs and is heard, but the schema sends no notification at all (hint() does nothing):
//                 everything must still happen, by the fallback
//   Polling       no listener
//   ..Replaying   the same with worker.cache_instances = 0: every turn of every workflow is a replay from history
//
// An installation is PostgreSQL's schema, the listener, the timer and two workers. Those of the fixture Scenario are
// resident: a ctest fixture starts one a mode (site.cpp), and the scenarios attach to it. Those of OwnScenario, which
// kill and restart things, belong to the one test.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "tests/support/system.hpp"

namespace romancy::test {

enum class Hearing { notified, unnotified, polling };

struct Mode {
  Hearing hearing = Hearing::notified;
  bool cache = true;
};

std::string name_of(const Mode& mode);  // "UnnotifiedReplaying"
Mode mode_named(const std::string& name);  // throws
inline void PrintTo(const Mode& mode, std::ostream* out) { *out << name_of(mode); }

inline std::string name_of_param(const testing::TestParamInfo<Mode>& mode) { return name_of(mode.param); }

inline auto all_modes() {
  return testing::Values(Mode{Hearing::notified, true}, Mode{Hearing::notified, false}, Mode{Hearing::unnotified, true},
                         Mode{Hearing::unnotified, false}, Mode{Hearing::polling, true}, Mode{Hearing::polling, false});
}

// Those with a listener that can be killed.
inline auto listening_modes() {
  return testing::Values(Mode{Hearing::notified, true}, Mode{Hearing::notified, false}, Mode{Hearing::unnotified, true},
                         Mode{Hearing::unnotified, false});
}

// THEME(Activities) is a suite of scenarios on the resident installations, OWN_THEME(Kills) one of its own.
#define ROMANCY_THEME(theme, fixture)      \
  class theme : public fixture {};         \
  INSTANTIATE_TEST_SUITE_P(Scenarios, theme, all_modes(), name_of_param)
#define THEME(theme) ROMANCY_THEME(theme, Scenario)
#define OWN_THEME(theme) ROMANCY_THEME(theme, OwnScenario)

// Real processes in this mode, none of them started yet.
SystemOptions options_of(const Mode& mode, const std::string& more_toml = "");
// Tables and functions of the scenarios, and the mode's hint(). Call it before any process starts.
void prepare(System& system, const Mode& mode);

}  // namespace romancy::test
