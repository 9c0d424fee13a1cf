// rollout: an upgrade replaces the children one by one. Pure: when has the new one settled, so that the next may follow?
//
//   the listener       a second one is started beside the first; when it LISTENs, the first one leaves: at no moment
//                      does nobody hear. While the first one hears, PostgreSQL is there, and a second one that does not
//                      hear within kHearAtLast halts the rollout. With PostgreSQL away neither can, and the first one
//                      leaves after kHearWithin.
//   all others         restarted: drained, and started anew.
// A new one that dies or refuses halts the rollout: those that were not replaced yet work on.
#pragma once
#include <chrono>

#include "supervisor/restart_policy.hpp"

namespace romancy::supervisor {

inline constexpr auto kHearWithin = std::chrono::seconds(15);
inline constexpr auto kHearAtLast = std::chrono::seconds(60);

struct Replacement {
  ChildState state = ChildState::exited;
  bool is_new = false;                    // its process is not the one from before
  std::chrono::milliseconds age{0};       // of the process
  bool must_hear = false, hears = false;  // the listener
  bool former_hears = false;              // .. that is to leave
};

enum class Standing { wait, settled, halt };

Standing judge(const Replacement& replacement, std::chrono::milliseconds ready_timeout);

}  // namespace romancy::supervisor
