// Child: one process that shall run: its state, its descriptors, its deadlines.
//
// restart_policy decides; a Child carries out. Only enter() changes the state, and logs each change. Signals go by
// pid, safely: the kernel keeps the number of a dead child until we reap it, and nobody but the supervisor's one
// thread reaps (a pidfd would guard against nothing).
//
// Promise: stop() ends in a child that is gone: "drain" first, SIGTERM after stop_timeout, SIGKILL 5 s later.
// Promise: what a process leaves behind in its process group dies with it.
// Failure: a program that cannot be started is tried again like one that crashes.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  const proc::Config& config;
  const proc::Board& board;
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
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void start();
  void stop();
  void restart();
  void kill();                   // without grace: SIGKILL now
  void reaped(int wait_status);  // by the supervisor, whose child this pid was
  void watch();                  // is it hung? Called a few times a second

  [[nodiscard]] const Component& component() const { return component_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool gone() const { return state_ == ChildState::exited; }
  [[nodiscard]] ChildReport report() const;

 private:
  using Clock = std::chrono::steady_clock;
  void on(ChildEvent event);
  void enter(ChildState next);
  void act(ChildEffect effect);
  void spawn_it();
  void drain_it();
  void terminate_it();
  void on_due();
  void signal_group(int signal);
  void on_word(std::string_view word);
  [[nodiscard]] std::string hang() const;  // why it counts as hung; empty: it does not

  const Surroundings& around_;
  const Component component_;
  ChildState state_ = ChildState::exited;
  Tally tally_;
  pid_t pid_ = 0;
  std::unique_ptr<io::LineStream> control_;
  io::Alarm due_;                        // the end of a wait, or the next signal
  int next_signal_ = 0;
  bool terminating_ = false;             // SIGABRT was sent: it is on its way out
  std::chrono::milliseconds delay_{0};   // of the coming wait
  Clock::time_point started_at_{};
  std::optional<Clock::time_point> ready_since_;
  int starts_ = 0;
  std::string last_exit_, why_;
};

}  // namespace romancy::supervisor
