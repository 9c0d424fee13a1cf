// process: the skeleton of every daemon: arguments, configuration, log, signals, slot, ready, drain, exit code.
//
// A daemon's main() names itself and hands over a Service; run_process() does the rest, so that no daemon differs in
// how it starts, is watched, or stops:
//   --config FILE (or ROMANCY_CONFIG, or all defaults), --once, --help, --version; a wrong one is exit 64, a wrong
//   file exit 78;
//   started by the supervisor: arms PR_SET_PDEATHSIG and checks its parent, adopts slot and control socket
//   (inherited.hpp), says "ready" when the service does; EOF on the control socket is a drain;
//   its configuration is the copy that the supervisor accepted last, not what the file may say by now;
//   "log LEVEL" on the control socket changes the level of its log;
//   SIGTERM, SIGINT or "drain" (or "finish": without a limit): Service::drain(), exit 0 when it is done; exit 1, without destructors, when
//   stop_timeout has passed or a second signal came;
//   beats the slot's heart once a second from the loop: a loop that stands still for hang_timeout is killed. Not being
//   ready (the database is away) never is a reason to be killed.
// Not taken: the hub's descriptor (kEnvHub); the listener adopts it, and sets close-on-exec.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/loop.hpp"
#include "common/proc/board.hpp"
#include "common/proc/config.hpp"

namespace romancy::proc {

struct ProcessSpec {
  std::string name;     // component by default, and the name in logs: "timer"
  std::string summary;  // one line for --help
};

class Process {
 public:
  virtual ~Process() = default;
  virtual io::Loop& loop() = 0;
  virtual const Config& config() const = 0;
  virtual Slot slot() = 0;
  virtual const std::string& component() const = 0;  // "timer", "orders.2"
  virtual bool once() const = 0;                     // --once: do what is due, then exit
  virtual void ready() = 0;                          // told once by the service when it works
  virtual void not_ready(std::string_view why) = 0;  // the database is away, say; as trouble() too
  virtual void trouble(std::string_view why) = 0;    // it works, but not as it should: shown by `romancy status`; "": over
  virtual bool patient() const = 0;                  // it drains, and nobody set it a limit
  virtual void finish(int exit_code) = 0;            // ends the process from within (--once, exit 78)
};

class Service {
 public:
  virtual ~Service() = default;
  virtual void start() = 0;
  // Take nothing new, finish what is in hand, then call `done` (once, on the loop).
  virtual void drain(std::function<void()> done) = 0;
  // It drains without a limit, and now there is one: stop_timeout from here on.
  virtual void limited() {}
};

int run_process(int argc, char** argv, const ProcessSpec& spec,
                const std::function<std::unique_ptr<Service>(Process&)>& make_service);

}  // namespace romancy::proc
