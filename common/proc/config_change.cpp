#include "common/proc/config_change.hpp"

#include <type_traits>
#include <variant>

#include "common/proc/config_table.hpp"

namespace romancy::proc {

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
    changes.push_back({std::string(setting.section) + "." + setting.key, setting.readers.bits});
  }
  return changes;
}

}  // namespace romancy::proc
