// status: what an operator sees of the supervisor and its children.
#pragma once
#include <chrono>
#include <vector>

#include "common/base/json.hpp"
#include "supervisor/child.hpp"

namespace romancy::supervisor {

// `note`: what the supervisor itself has to say: a refused reload, an upgrade under way. Empty: nothing.
Json status_json(const std::vector<ChildReport>& children, std::chrono::milliseconds uptime, const std::string& note);
// The same in one line, for systemd.
std::string status_line(const std::vector<ChildReport>& children, const std::string& note);

}  // namespace romancy::supervisor
