// schedule_plan: which ticks of a due schedule there are to see to, and which is the next. Pure.
#pragma once
#include "timer/timer_store.hpp"

namespace romancy::timer {

// At most so many in one plan: what is over comes with the next look, at once.
inline constexpr int kMostTicks = 100;
inline constexpr int kMostMissed = 10000;

// Refuses what cannot be read here, although the database let it through: a zone that this host does not have.
Result<SchedulePlan> plan(const DueSchedule& schedule);

}  // namespace romancy::timer
