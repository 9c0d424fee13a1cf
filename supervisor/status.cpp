#include "supervisor/status.hpp"

#include <unistd.h>

namespace romancy::supervisor {

Json status_json(const std::vector<ChildReport>& children, std::chrono::milliseconds uptime) {
  Json components = Json::array();
  for (const auto& child : children) {
    components.push_back({{"name", child.name},
                          {"state", child.state},
                          {"pid", child.pid},
                          {"restarts", child.restarts},
                          {"uptime_ms", child.uptime_ms},
                          {"last_exit", child.last_exit.empty() ? Json(nullptr) : Json(child.last_exit)},
                          {"why", child.why}});
  }
  return {{"ok", true},
          {"supervisor", {{"pid", ::getpid()}, {"uptime_ms", uptime.count()}}},
          {"components", std::move(components)}};
}

}  // namespace romancy::supervisor
