#include "common/proc/config_change.hpp"

#include <string_view>
#include <type_traits>
#include <variant>

#include "common/proc/config_table.hpp"

namespace romancy::proc {
namespace {

struct Rule {
  std::string_view section, key;  // key empty: all others of the section
  unsigned readers;
};

constexpr unsigned kConsumers = kReadByTimer | kReadByRelay | kReadByResumer;

// The first that fits counts. A key without a rule is read by all: a restart too many is better than one too few.
constexpr Rule kRules[] = {
    {"database", "migrate", kSupervisor},  // read at its next start
    {"runtime", "dir", kNeedsRestart},
    {"log", "level", kToldLive},
    {"listener", "heartbeat_interval", kReadByListener},
    {"listener", "heartbeat_timeout", kReadByListener},
    {"listener", "max_subscribers", kReadByListener},
    {"listener", "group", kReadByListener},
    {"poll", "workflow_interval", kReadByResumer},
    {"poll", "timer_interval", kReadByTimer},
    {"poll", "channel_timeout_interval", kReadByTimer},
    {"poll", "outbox_interval", kReadByRelay},
    {"batch", "workflows", kReadByResumer},
    {"batch", "messages", kReadByResumer},
    {"batch", "timers", kReadByTimer},
    {"batch", "outbox", kReadByRelay},
    {"session", "", kConsumers},
    {"worker", "", kReadByResumer},
    {"relay", "", kReadByRelay},
    {"supervisor", "stop_timeout", kReadByAll},  // each drains within it
    {"supervisor", "", kSupervisor},
};

unsigned readers_of(std::string_view section, std::string_view key) {
  for (const Rule& rule : kRules) {
    if (rule.section == section && (rule.key.empty() || rule.key == key)) return rule.readers;
  }
  return kReadByAll;
}

}  // namespace

std::vector<ConfigChange> config_changes(const Config& before, const Config& after) {
  std::vector<ConfigChange> changes;
  for (const Setting& setting : settings()) {
    const bool differs = std::visit(
        [&](auto member) {
          if constexpr (std::is_invocable_v<decltype(member), const Config&>) return before.*member != after.*member;
          else return false;  // of a [[resumer]]
        },
        setting.member);
    if (!differs) continue;
    changes.push_back({std::string(setting.section) + "." + setting.key, readers_of(setting.section, setting.key)});
  }
  return changes;
}

}  // namespace romancy::proc
