// Retention: removes what is over and had its time, in small batches, on the timer's connection.
//
// The owner starts it when the database is there and stops it when it is away. One batch is under way at most. A log line
// says what a sweep removed; the board counts it. When, is decided in retention_plan.hpp; what, by the database
// (sql/engine/retention.sql), of which any number of timers may ask at once.
#pragma once
#include <functional>

#include "common/io/alarm.hpp"
#include "common/proc/board.hpp"
#include "common/proc/config.hpp"
#include "timer/retention_plan.hpp"
#include "timer/timer_store.hpp"

namespace romancy::timer {

class Retention {
 public:
  struct Handlers {
    std::function<void(const Error&)> on_error;
    std::function<void()> on_over;  // a batch is over
  };
  Retention(io::Loop& loop, TimerStore& store, proc::Slot slot, const proc::Config& config, Handlers handlers);

  void start();
  void stop();

 private:
  void remove();
  void removed(Kept what, const Removed& removed);
  void say();

  TimerStore& store_;
  proc::Slot slot_;
  const int most_;
  const Handlers handlers_;
  RetentionPlan plan_;
  io::Alarm due_;
  bool started_ = false, under_way_ = false;
  std::int64_t instances_ = 0, generations_ = 0, events_ = 0, messages_ = 0;  // of this sweep
};

}  // namespace romancy::timer
