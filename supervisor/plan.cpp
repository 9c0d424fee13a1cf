#include "supervisor/plan.hpp"

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
      components.push_back({resumer.name + "." + std::to_string(n), Kind::resumer, resumer.command, slot++});
    }
  }
  return components;
}

std::string find_bin_dir(const proc::Config& config) {
  if (!config.bin_dir.empty()) return config.bin_dir;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "/usr/bin" : self.parent_path().string();  // no /proc: where packages put us
}

}  // namespace romancy::supervisor
