// ScheduleLane: looks at the schedules that are due, at the earliest due_at, after hints, and in its own sweep.
//
// A look: list what is due; compute the ticks of each (schedule_plan.hpp); say them to the database, which decides what
// comes of them and counts only the first timer that says so; then ask how far ahead the next look is. One look under way
// at most. Nothing due: no statement is sent until the sweep.
//
// Failure: a schedule whose ticks this host cannot compute is logged once, noted in its row, and left to timers elsewhere.
//          Errors of a statement go to the owner; the sweep comes back.
#pragma once
#include <functional>
#include <set>
#include <utility>

#include "common/proc/board.hpp"
#include "common/proc/sweeper.hpp"
#include "timer/deadlines.hpp"
#include "timer/lane.hpp"
#include "timer/timer_store.hpp"

namespace romancy::timer {

class ScheduleLane {
 public:
  struct Options {
    int limit = 0;  // schedules a look
    proc::Sweeper::Intervals intervals;
  };
  ScheduleLane(io::Loop& loop, TimerStore& store, proc::Slot slot, Options options, Lane::Handlers handlers);

  void start() { sweeper_.start(); }
  void stop() { sweeper_.stop(); }
  void live(bool heard) { sweeper_.live(heard); }
  void resync(std::string_view why) { sweeper_.resync(why); }
  void hint(const Hint& hint);

 private:
  void look(proc::Why why);
  void seen(const SchedulesSeen& seen);
  void fire(const DueSchedule& schedule);
  void ticked(const DueSchedule& schedule, const std::vector<Ticked>& ticks);
  void failed(const Error& error);
  void end_look(const Ahead& ahead, Deadlines::Time sent);

  TimerStore& store_;
  proc::Slot slot_;
  const Options options_;
  const Lane::Handlers handlers_;
  Deadlines deadlines_;
  bool moved_ = false;                                          // this look did something: what is due is there at once
  std::set<std::pair<std::string, std::int64_t>> incomputable_;  // name, version: said so already
  proc::Sweeper sweeper_;
};

}  // namespace romancy::timer
