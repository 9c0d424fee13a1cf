// config_change: what differs between two configurations, and which programs read what differs. Pure.
//
// A reload restarts the readers of what has changed, and nobody else. Who reads a key its row in config_table.cpp says.
#pragma once
#include <string>
#include <vector>

#include "common/proc/config.hpp"

namespace romancy::proc {

enum Reader : unsigned {
  kReadByListener = 1,
  kReadByTimer = 2,
  kReadByRelay = 4,
  kReadByResumer = 8,
  kReadByAll = 15,
  kToldLive = 16,     // told to those that run, without a restart
  kSupervisor = 32,   // the supervisor itself, which goes by the new value at once
  kNeedsRestart = 64  // of the supervisor: cannot be changed by a reload
};

struct ConfigChange {
  std::string key;  // "poll.timer_interval"
  unsigned readers = kReadByAll;
};

// The keys outside of [[resumer]] whose values differ. What becomes of the [[resumer]] entries the plan shows.
std::vector<ConfigChange> config_changes(const Config& before, const Config& after);

}  // namespace romancy::proc
