// plan: the components that a configuration asks for, in the order in which they are started.
#pragma once
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
};

// Listener (unless listener.enabled = false), timer, relay (if relay.enabled), resumers in the order of the file.
std::vector<Component> plan(const proc::Config& config, const std::string& bin_dir);

// supervisor.bin_dir, or the directory of this program.
std::string find_bin_dir(const proc::Config& config);

}  // namespace romancy::supervisor
