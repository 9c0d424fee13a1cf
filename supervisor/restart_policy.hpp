// restart_policy: what becomes of a child. Pure: no I/O, no clock, no process.
//
// step() is the state machine of one child; Tally decides from the history of its deaths how long to wait before it
// is started again. Both are decided here and carried out in child.cpp.
//
// Promise: a crash alone never ends in "given up". A database outage, say, must heal itself: the wait grows to
//          restart_delay_max and stays there. Only exit 78 (wrong configuration: restarting cannot help) is Held,
//          until an operator says start or restart.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/backoff.hpp"

namespace romancy::supervisor {

enum class ChildState : std::uint8_t {
  exited,      // no process, and none is wanted
  starting,    // a process that has not said "ready" yet
  ready,
  draining,    // told to stop; it finishes what it has in hand
  restarting,  // as draining, but it is wanted again afterwards
  backoff,     // no process; the next one is started when the wait is over
  held,        // no process: it exited with 78; waits for an operator
  count_
};

enum class ChildEvent : std::uint8_t {
  start,         // an operator, or the start of everything
  spawn_failed,  // fork or exec failed, or there is no such program
  ready,         // it said so
  hung,          // its heart stands still, or it never began to beat
  crashed_once,  // it died unasked, and may be started again at once
  crashed,       // it died unasked, and the tally wants a wait; or it died as it was asked to
  refused,       // it exited with 78
  delay_over,    // the wait is over
  stop,          // an operator, or the stop of everything
  restart,       // an operator
  drain,         // an operator: stop, but without a deadline
  count_
};

enum class ChildEffect : std::uint8_t {
  none,
  spawn,      // start a process
  wait,       // set the alarm for delay_over
  drain,      // say "drain", set the alarm for SIGTERM, then SIGKILL; nothing when that was done before
  finish,     // say "finish": no alarm
  terminate,  // SIGABRT (a core shows where it hangs), then SIGKILL
  forget,     // cancel the alarm
};

struct Transition {
  ChildState to;
  ChildEffect effect;
  bool operator==(const Transition&) const = default;
};

Transition step(ChildState from, ChildEvent event);
std::string_view state_name(ChildState state);   // for logs: the states themselves
std::string_view status_word(ChildState state);  // for operators: starting ready draining backoff held stopped

// How long to wait after a death: nothing after the first one of a child that had been ready; else restart_delay,
// doubled each time, with jitter, up to restart_delay_max; restart_delay_max at once from the fifth death in a minute
// on. A child that was ready for a minute starts with a clean record. A database that is away (exit 75) never counts as
// a death. What could not even be started (no process, no memory, no such program) is tried again after 5 s, then each
// minute: the machine is in trouble, and trying harder makes it worse.
class Tally {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Verdict {
    bool at_once = false;
    std::chrono::milliseconds delay{0};
    bool throttled = false;
  };
  Tally(std::chrono::milliseconds restart_delay, std::chrono::milliseconds restart_delay_max, std::uint64_t seed);

  Verdict died(Time now, std::optional<Time> ready_since);
  Verdict away();         // it ended with 75: the database is away
  Verdict not_started();
  void started() { not_started_ = 0; }
  void forgive();  // an operator started it
  void waits(std::chrono::milliseconds restart_delay, std::chrono::milliseconds restart_delay_max);  // a reload

  // What an upgrade hands over.
  struct Record {
    std::vector<Time> deaths;
    bool clean = true;
    int tries = 0, not_started = 0;
  };
  [[nodiscard]] Record record() const;
  void take_over(const Record& record);

 private:
  Backoff backoff_;
  std::chrono::milliseconds longest_;
  std::deque<Time> deaths_;  // of the last minute, at most kMany of them
  bool clean_ = true;        // no death since it was forgiven or had been ready for a minute
  int not_started_ = 0;      // in a row
};

inline constexpr std::size_t kMany = 5;                        // deaths ..
inline constexpr auto kWindow = std::chrono::seconds(60);      // .. in this time: throttled
inline constexpr auto kNotStarted = std::chrono::seconds(5);        // fork or exec failed: the first wait ..
inline constexpr auto kNotStartedAgain = std::chrono::seconds(60);  // .. and those that follow
inline constexpr auto kStable = std::chrono::seconds(60);      // ready this long: forgiven

}  // namespace romancy::supervisor
