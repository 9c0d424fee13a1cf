#include "timer/lane.hpp"

#include <utility>

#include "common/base/log.hpp"

namespace romancy::timer {

using proc::Counter;
using Clock = std::chrono::steady_clock;

Lane::Lane(io::Loop& loop, TimerStore& store, proc::Slot slot, Options options, Handlers handlers)
    : store_(store),
      slot_(slot),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      sweeper_(loop, options_.intervals, [this](proc::Why why) { look(why); }) {}

void Lane::hint(const Hint& hint) {
  if (deadlines_.hinted(hint.expires_us)) sweeper_.hint();
}

void Lane::look(proc::Why why) {
  const auto now = Clock::now();
  const bool at_deadline = deadlines_.look_at() && *deadlines_.look_at() <= now;
  switch (why) {
    case proc::Why::hint: slot_.add(Counter::wakes_notified); break;
    case proc::Why::poll:
      if (!at_deadline) slot_.add(Counter::wakes_swept);
      break;
    case proc::Why::resync:
    case proc::Why::more: break;
  }
  deadlines_.looking();
  fired_ = 0;
  // Two statements, one round trip: the pipeline answers in order, and the second one sees what the first has left.
  store_.fire(options_.kinds, options_.limit, [this](const Result<std::vector<Fired>>& timers) {
    if (timers) fired(*timers);
    else handlers_.on_error(timers.error());
  });
  store_.look_ahead(options_.kinds, [this, now](const Result<Ahead>& ahead) { end_look(ahead, now); });
}

void Lane::fired(const std::vector<Fired>& timers) {
  fired_ = static_cast<int>(timers.size());
  slot_.add(Counter::timers_fired, timers.size());
  for (const Fired& timer : timers) {
    slot_.record(proc::Histogram::timer_lateness, timer.late);
    log::debug("timer_fired",
               {{"instance_id", timer.instance_id}, {"timer_id", timer.timer_id}, {"late_us", timer.late.count()}});
  }
}

void Lane::end_look(const Result<Ahead>& ahead, Deadlines::Time sent) {
  if (!ahead) {
    deadlines_.failed();
    sweeper_.done(false);
    return handlers_.on_error(ahead.error());
  }
  const auto now = Clock::now();
  deadlines_.answered({.sent = sent,
                       .received = now,
                       .fired = fired_,
                       .limit = options_.limit,
                       .clock_us = ahead->clock_us,
                       .next_us = ahead->next_us});
  sweeper_.done(deadlines_.full());
  if (const auto next = deadlines_.look_at()) sweeper_.look_in(*next - now);
  handlers_.on_over(deadlines_.full());
}

}  // namespace romancy::timer
