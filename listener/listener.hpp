// Listener: the process that hears PostgreSQL for all others of this host.
//
// One connection LISTENs (session.hpp); the hub (hub.hpp) hands what it hears to the processes that subscribed. It
// decides nothing, stores nothing, and reads no table.
// Promise: the hub is served from the start to the end, whether PostgreSQL is there or not; that is "ready".
// Promise: subscribers are told when PostgreSQL is heard and when it is not, and to look at everything after a gap.
// With listener.enabled = false it serves the hub, says live: false, and never connects.
// With --once it serves nobody: exit 0 when a notification to itself has come back, 75 when it could not.
// Failure: another listener on the same socket, or a path that cannot be one: exit 78.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "common/base/result.hpp"
#include "common/base/unique_fd.hpp"
#include "common/proc/process.hpp"
#include "listener/hub.hpp"
#include "listener/session.hpp"

namespace romancy::listener {

class Listener final : public proc::Service {
 public:
  explicit Listener(proc::Process& process);
  void start() override;
  void drain(std::function<void()> done) override;

 private:
  void listen();
  void heard(bool first);
  void unheard(bool was_live, std::string_view why);

  proc::Process& process_;
  std::optional<Hub> hub_;
  Session session_;
};

}  // namespace romancy::listener
