// Alarms: any number of moments, one descriptor. For what comes in thousands: the time-outs of activities, the pauses
// of asynchronous ones. An Alarm of its own has its price: a timerfd.
//
// Each set moment calls back once, on the loop, in the order of the moments. A callback may set and cancel others.
// Destroying the Alarms cancels all of them.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>

#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"

namespace romancy::io {

class Alarms {
 public:
  using Id = std::uint64_t;  // never 0, never used twice
  explicit Alarms(Loop& loop);

  Id set_in(std::chrono::nanoseconds delay, std::function<void()> on_due);
  void cancel(Id id);  // one that was called or cancelled already: nothing happens
  [[nodiscard]] std::size_t size() const { return moments_.size(); }

 private:
  using Clock = std::chrono::steady_clock;
  using Key = std::pair<Clock::time_point, Id>;
  void ring();
  void arm();

  Alarm alarm_;
  std::map<Key, std::function<void()>> queue_;
  std::unordered_map<Id, Clock::time_point> moments_;
  Id last_ = 0;
};

}  // namespace romancy::io
