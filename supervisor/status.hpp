// status: what an operator sees of the supervisor and its children.
#pragma once
#include <chrono>
#include <vector>

#include "common/base/json.hpp"
#include "supervisor/child.hpp"

namespace romancy::supervisor {

Json status_json(const std::vector<ChildReport>& children, std::chrono::milliseconds uptime);

}  // namespace romancy::supervisor
