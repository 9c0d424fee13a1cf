#include "supervisor/status.hpp"

#include <unistd.h>

namespace romancy::supervisor {

Json status_json(const std::vector<ChildReport>& children, std::chrono::milliseconds uptime, const std::string& note) {
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
          {"supervisor", {{"pid", ::getpid()}, {"uptime_ms", uptime.count()}, {"note", note}}},
          {"components", std::move(components)}};
}

std::string status_line(const std::vector<ChildReport>& children, const std::string& note) {
  std::size_t ready = 0;
  std::string others;
  for (const auto& child : children) {
    if (child.state == "ready" && child.why.empty()) ++ready;
    else others += (others.empty() ? "; " : ", ") + child.name + " " + child.state;
  }
  return std::to_string(ready) + " of " + std::to_string(children.size()) + " processes are ready" + others +
         (note.empty() ? "" : "; " + note);
}

}  // namespace romancy::supervisor
