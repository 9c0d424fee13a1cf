#include "supervisor/plan.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace romancy::supervisor {

std::vector<Component> plan(const proc::Config& config, const std::string& bin_dir) {
  enum Slots { kListenerSlot, kTimerSlot, kRelaySlot, kFirstResumerSlot };  // fixed: an absent relay leaves a hole
  std::vector<Component> components;
  if (config.listener != proc::Listening::off) {
    components.push_back({"listener", Kind::listener, {bin_dir + "/romancy-listener"}, kListenerSlot});
  }
  components.push_back({"timer", Kind::timer, {bin_dir + "/romancy-timer"}, kTimerSlot});
  if (config.relay) components.push_back({"relay", Kind::relay, {bin_dir + "/romancy-relay"}, kRelaySlot});
  int slot = kFirstResumerSlot;
  for (const auto& resumer : config.resumers) {
    for (int n = 1; n <= resumer.processes; ++n) {
      components.push_back({resumer.name + "." + std::to_string(n), Kind::resumer, resumer.command, slot++, resumer.version});
    }
  }
  return components;
}

std::vector<int> assign_slots(std::vector<Component>& components, const std::vector<std::string>& names,
                              const std::set<int>& busy) {
  std::set<int> taken = busy;
  std::set<std::string> placed;
  for (Component& component : components) {
    const auto mine = std::find(names.begin(), names.end(), component.name);
    const int slot = static_cast<int>(mine - names.begin());
    if (mine == names.end() || !taken.insert(slot).second) continue;
    component.slot = slot;
    placed.insert(component.name);
  }
  std::vector<int> to_clear;
  const auto unused = [&](int slot) { return !taken.contains(slot) && names[static_cast<std::size_t>(slot)].empty(); };
  for (Component& component : components) {
    if (placed.contains(component.name)) continue;
    int slot = component.slot;
    if (!unused(slot)) {
      for (slot = 0; slot < static_cast<int>(names.size()) && !unused(slot);) ++slot;
    }
    if (slot == static_cast<int>(names.size())) {
      // Never reached without one: the configuration allows no more components than there are slots.
      for (slot = 0; slot + 1 < static_cast<int>(names.size()) && taken.contains(slot);) ++slot;
      to_clear.push_back(slot);
    }
    taken.insert(slot);
    component.slot = slot;
  }
  return to_clear;
}

std::string find_bin_dir(const proc::Config& config) {
  if (!config.bin_dir.empty()) return config.bin_dir;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "/usr/bin" : self.parent_path().string();  // no /proc: where packages put us
}

}  // namespace romancy::supervisor
