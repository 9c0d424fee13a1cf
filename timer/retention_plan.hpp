// RetentionPlan: what retention removes next, and when. Pure: it is told what a batch said, and has no clock.
//
// A sweep goes through the kinds that have a time, one batch after the other, and comes back to a kind while that had more
// than a batch. Between two batches it pauses as long as the last one took, so that it has at most half of the connection,
// which is the timers' too. After a sweep the next one is due when the next thing is, but never sooner than `interval`:
// things that end one by one leave together. What ends from now on is due a whole time later, so nobody need look before.
//
// Promise: while nothing is due there is no look: the longest wait is the shortest of the times (or kLongest).
#pragma once
#include <chrono>
#include <optional>
#include <vector>

#include "timer/timer_store.hpp"

namespace romancy::timer {

class RetentionPlan {
 public:
  using ms = std::chrono::milliseconds;
  static constexpr std::chrono::hours kLongest{24};  // clocks are set, and alarms have an end

  struct Kind {
    Kept what{};
    ms keep{};
  };

  RetentionPlan(std::vector<Kind> kinds, ms interval);  // keep 0: for ever, and not looked at

  [[nodiscard]] bool idle() const { return kinds_.empty(); }
  // What to remove now. The first of a sweep, or where it goes on.
  [[nodiscard]] const Kind& current() const { return kinds_[at_]; }
  // The batch that was asked for is over: in what time the next one is due.
  std::chrono::microseconds answered(const Removed& removed, std::chrono::microseconds took);
  // It failed: the sweep begins anew, after an interval.
  std::chrono::microseconds failed();
  [[nodiscard]] bool sweep_over() const { return at_ == 0 && !again_; }  // after answered()

 private:
  const std::vector<Kind> kinds_;
  const ms interval_;
  std::size_t at_ = 0;
  bool again_ = false;  // the current kind has more
  std::chrono::microseconds next_{kLongest};
};

}  // namespace romancy::timer
