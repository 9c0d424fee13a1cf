// Alarm: calls back once, at a moment of the monotonic clock.
//
// Built on timerfd: the deadline is met to the microsecond, not to libuv's millisecond tick (timers/README in docs/). One that is
// made when no descriptor is left does with that tick.
// Setting an armed alarm moves it. Destroying it cancels it. The callback may set it again or destroy it.
#pragma once
#include <chrono>
#include <functional>
#include <memory>

#include "common/io/loop.hpp"

namespace romancy::io {

class Alarm {
 public:
  Alarm(Loop& loop, std::function<void()> on_due);
  ~Alarm();
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  void set_in(std::chrono::nanoseconds delay);  // zero or negative: on the next turn
  void set_at(std::chrono::steady_clock::time_point when);
  void cancel();
  [[nodiscard]] bool armed() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::io
