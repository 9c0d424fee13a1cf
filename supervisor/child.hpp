// Child: one process that shall run: its state, its descriptors, its deadlines.
//
// restart_policy decides; a Child carries out. Only enter() changes the state, and logs each change. Signals go through
// the pidfd; those for its whole group by number, which is safe as long as the pidfd says that we have not reaped it.
//
// Promise: stop() ends in a child that is gone: "drain" first, SIGTERM after stop_timeout, SIGKILL 5 s later.
//          drain() is the same without any limit, until somebody says stop().
// Promise: what a process leaves behind in its process group dies with it.
// Failure: a program that cannot be started is tried again after 5 s, then each minute.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/json.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/alarm.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/loop.hpp"
#include "common/proc/board.hpp"
#include "common/proc/config.hpp"
#include "supervisor/plan.hpp"
#include "supervisor/restart_policy.hpp"

namespace romancy::supervisor {

inline constexpr auto kKillAfter = std::chrono::seconds(5);  // from SIGTERM or SIGABRT to SIGKILL

struct Surroundings {  // what all children share; outlives them
  io::Loop& loop;
  const proc::Config& config;  // as accepted last
  proc::Board& board;
  std::string in_effect;       // the file with its text; empty: there is none
  int hub_fd = -1;
  std::function<void()> on_gone;  // a child has no process any more and is not wanted
};

struct ChildReport {
  std::string name;
  std::string state;
  pid_t pid = 0;  // 0: no process
  int restarts = 0;
  std::int64_t uptime_ms = 0;
  std::string last_exit;  // "signal 9", "exit 78"; empty: it never ended
  std::string why;        // of the state, when there is something to say
};

class Child {
 public:
  Child(const Surroundings& around, Component component);
  // A process that runs already, or waits: what hand_over() said, in the program that takes over.
  static Result<std::unique_ptr<Child>> take_over(const Surroundings& around, const Json& handed);
  [[nodiscard]] Json hand_over() const;
  [[nodiscard]] std::vector<int> descriptors() const;  // that must survive the exec
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void start();
  void stop();
  void drain();
  void restart();
  void change(Component component);  // a reload: for its next start; the name and the slot stay
  void reloaded();                   // other waits, and the log level if it has none of its own
  void log_level(std::string_view word);  // "debug" ..; "default": as configured
  void follows(const Child& former);      // counts on where that one ended, in its slot
  void kill();                   // without grace: SIGKILL now
  void reaped(int wait_status);  // by the supervisor, whose child this pid was
  void watch();                  // is it hung? Called a few times a second

  [[nodiscard]] const Component& component() const { return component_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] ChildState state() const { return state_; }
  [[nodiscard]] bool hears() const;  // it says so, and beats; also beside the one that is to replace it
  [[nodiscard]] bool gone() const { return state_ == ChildState::exited; }
  [[nodiscard]] std::chrono::milliseconds age() const;  // of its process
  [[nodiscard]] ChildReport report() const;

 private:
  using Clock = std::chrono::steady_clock;
  void on(ChildEvent event);
  void enter(ChildState next);
  void act(ChildEffect effect);
  void spawn_it();
  void drain_it(bool limited);
  void arm(std::chrono::nanoseconds delay);
  void listen_to(UniqueFd control);
  void say_level();
  void terminate_it();
  void on_due();
  void signal_group(int signal);
  void on_word(std::string_view word);
  [[nodiscard]] std::string hang() const;  // why it counts as hung; empty: it does not

  const Surroundings& around_;
  Component component_;
  ChildState state_ = ChildState::exited;
  Tally tally_;
  pid_t pid_ = 0;
  UniqueFd pidfd_;
  std::unique_ptr<io::LineStream> control_;
  io::Alarm due_;                        // the end of a wait, or the next signal
  Clock::time_point due_at_{};
  bool limited_ = false;                 // told to drain within stop_timeout
  std::string level_;                    // of its log, when an operator said so
  int next_signal_ = 0;
  bool terminating_ = false;             // SIGABRT was sent: it is on its way out
  std::chrono::milliseconds delay_{0};   // of the coming wait
  Clock::time_point started_at_{};
  std::optional<Clock::time_point> ready_since_;
  int starts_ = 0;
  std::string last_exit_, why_;
  std::string trouble_;                  // what its process says keeps it from its work
};

}  // namespace romancy::supervisor
