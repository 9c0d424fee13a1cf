#include "timer/schedule_lane.hpp"

#include "common/base/log.hpp"
#include "timer/schedule_plan.hpp"

namespace romancy::timer {

using proc::Counter;
using Clock = std::chrono::steady_clock;

ScheduleLane::ScheduleLane(io::Loop& loop, TimerStore& store, proc::Slot slot, Options options, Lane::Handlers handlers)
    : store_(store),
      slot_(slot),
      options_(options),
      handlers_(std::move(handlers)),
      sweeper_(loop, options_.intervals, [this](proc::Why why) { look(why); }) {}

void ScheduleLane::hint(const Hint& hint) {
  if (deadlines_.hinted(hint.expires_us)) sweeper_.hint();
}

void ScheduleLane::look(proc::Why why) {
  const bool at_deadline = deadlines_.look_at() && *deadlines_.look_at() <= Clock::now();
  if (why == proc::Why::hint) slot_.add(Counter::wakes_notified);
  if (why == proc::Why::poll && !at_deadline) slot_.add(Counter::wakes_swept);
  deadlines_.looking();
  moved_ = false;
  store_.look_at_schedules(options_.limit, [this](const Result<SchedulesSeen>& answer) {
    if (!answer) return failed(answer.error());
    seen(*answer);
  });
}

void ScheduleLane::seen(const SchedulesSeen& seen) {
  for (const std::string& id : seen.started) {
    moved_ = true;
    slot_.add(Counter::schedules_ticked);
    log::info("schedule_ticked", {{"instance_id", id}, {"outcome", "started"}, {"was", "queued"}});
  }
  for (const DueSchedule& schedule : seen.due) fire(schedule);
  // In the same pipeline: it is asked when all of them have been answered.
  const auto sent = Clock::now();
  store_.next_schedule([this, sent](const Result<Ahead>& ahead) {
    if (!ahead) return failed(ahead.error());
    end_look(*ahead, sent);
  });
}

void ScheduleLane::fire(const DueSchedule& schedule) {
  const auto planned = plan(schedule);
  if (!planned) {
    if (!incomputable_.emplace(schedule.name, schedule.version).second) return;
    log::error("schedule_incomputable", {{"schedule", schedule.name}, {"error", planned.error().text}});
    return store_.note_schedule(schedule, planned.error().text, [this](const Result<void>& noted) {
      if (!noted) handlers_.on_error(noted.error());
    });
  }
  if (planned->missed > 0) {
    log::warn("schedule_missed", {{"schedule", schedule.name}, {"ticks", planned->missed}});
  }
  store_.fire_schedule(schedule, *planned, [this, schedule](const Result<std::vector<Ticked>>& ticks) {
    if (!ticks) return handlers_.on_error(ticks.error());
    ticked(schedule, *ticks);
  });
}

void ScheduleLane::ticked(const DueSchedule& schedule, const std::vector<Ticked>& ticks) {
  for (const Ticked& tick : ticks) {
    moved_ = true;
    slot_.add(Counter::schedules_ticked);
    slot_.record(proc::Histogram::timer_lateness, tick.late);
    log::info("schedule_ticked", {{"schedule", schedule.name},
                                  {"instance_id", tick.instance_id},
                                  {"outcome", tick.outcome},
                                  {"late_us", tick.late.count()}});
  }
}

void ScheduleLane::failed(const Error& error) {
  deadlines_.failed();
  sweeper_.done(false);
  handlers_.on_error(error);
}

void ScheduleLane::end_look(const Ahead& ahead, Deadlines::Time sent) {
  const auto now = Clock::now();
  // After a look that did something, what is due is more of the same; otherwise somebody has it in hand.
  deadlines_.answered({.sent = sent,
                       .received = now,
                       .fired = moved_ && ahead.next_us && *ahead.next_us <= 0 ? 1 : 0,
                       .limit = 1,
                       .clock_us = ahead.clock_us,
                       .next_us = ahead.next_us});
  sweeper_.done(deadlines_.full());
  if (const auto next = deadlines_.look_at()) sweeper_.look_in(*next - now);
  handlers_.on_over(deadlines_.full());
}

}  // namespace romancy::timer
