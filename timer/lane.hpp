// Lane: looks at the timers of some kinds, at their deadline, after hints, and in its own sweep.
//
// The owner starts it when the database is there and stops it when it is away; in between the lane keeps exactly one
// look under way at most. Errors of a look go to the owner; the lane itself goes on with its sweep.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "common/proc/board.hpp"
#include "common/proc/sweeper.hpp"
#include "timer/deadlines.hpp"
#include "timer/timer_store.hpp"

namespace romancy::timer {

class Lane {
 public:
  struct Options {
    std::string name;        // in logs
    std::vector<int> kinds;  // resumer::TimerKind
    int limit = 0;           // timers a look
    proc::Sweeper::Intervals intervals;
  };
  struct Handlers {
    std::function<void(const Error&)> on_error;
    std::function<void(bool more)> on_over;  // a look is over; more: it was full, the next one follows at once
  };
  Lane(io::Loop& loop, TimerStore& store, proc::Slot slot, Options options, Handlers handlers);

  void start() { sweeper_.start(); }
  void stop() { sweeper_.stop(); }
  void live(bool heard) { sweeper_.live(heard); }
  void resync(std::string_view why) { sweeper_.resync(why); }
  void hint(const Hint& hint);
  [[nodiscard]] bool looking() const { return sweeper_.looking(); }

 private:
  void look(proc::Why why);
  void fired(const std::vector<Fired>& timers);
  void end_look(const Result<Ahead>& ahead, Deadlines::Time sent);

  TimerStore& store_;
  proc::Slot slot_;
  const Options options_;
  const Handlers handlers_;
  Deadlines deadlines_;
  int fired_ = 0;  // by the look under way
  proc::Sweeper sweeper_;
};

}  // namespace romancy::timer
