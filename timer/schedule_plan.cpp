#include "timer/schedule_plan.hpp"

#include "common/cron/cron.hpp"

namespace romancy::timer {
namespace {

cron::Moment moment(std::int64_t us) {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(us)));
}

}  // namespace

Result<SchedulePlan> plan(const DueSchedule& schedule) {
  const auto ticks = schedule.cron ? cron::Ticks::of_cron(*schedule.cron, schedule.time_zone)
                                   : cron::Ticks::of_every(std::chrono::seconds(schedule.every_s.value_or(0)));
  if (!ticks) return tl::unexpected(ticks.error());
  SchedulePlan made;
  const cron::Moment now = moment(schedule.clock_us);
  auto tick = schedule.next_tick_us ? moment(*schedule.next_tick_us) : ticks->after(moment(schedule.planned_from_us));
  for (; tick <= now; tick = ticks->after(tick)) {
    const std::int64_t seconds = tick.time_since_epoch().count();
    if (seconds * 1000000 < schedule.cutoff_us) {
      if (made.missed == kMostMissed) break;
      ++made.missed;
    } else {
      if (made.ticks.size() == kMostTicks) break;
      made.ticks.push_back(seconds);
    }
  }
  made.next = tick.time_since_epoch().count();
  return made;
}

}  // namespace romancy::timer
