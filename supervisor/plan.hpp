// plan: the components that a configuration asks for, in the order in which they are started.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "common/proc/config.hpp"

namespace romancy::supervisor {

enum class Kind { listener, timer, relay, resumer };

struct Component {
  std::string name;                  // "timer", "orders.2"
  Kind kind;
  std::vector<std::string> command;  // absolute path, then arguments
  int slot;                          // of the status board; the same for the same place in the configuration
  std::string version = {};          // of a resumer's code; empty: it says so itself
};

// Listener (unless listener.enabled = false), timer, relay (if relay.enabled), resumers in the order of the file.
std::vector<Component> plan(const proc::Config& config, const std::string& bin_dir);

// Puts each component into the slot that has its name already, so that its counters go on; else where plan() put it, else
// into one that was never used, else into one whose component is no more. `names`: of the slots, by number; `busy`: used
// by others that still run. Returns the slots that have to be cleared first.
std::vector<int> assign_slots(std::vector<Component>& components, const std::vector<std::string>& names,
                              const std::set<int>& busy);

// supervisor.bin_dir, or the directory of this program.
std::string find_bin_dir(const proc::Config& config);

}  // namespace romancy::supervisor
