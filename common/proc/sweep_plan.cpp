#include "common/proc/sweep_plan.hpp"

#include <algorithm>

namespace romancy::proc {

void SweepPlan::start(Time now) {
  started_ = true;
  resync_ = true;
  ended_ = now;
  poll_due_ = now + interval();
}

void SweepPlan::stop() {
  started_ = false;
  resync_ = hint_ = more_ = false;
  gap_.reset();
  asked_.reset();
}

void SweepPlan::hint() { hint_ = true; }

void SweepPlan::resync() { resync_ = true; }

void SweepPlan::gap(Time now) {
  if (gap_) return;  // the look that is due covers this one too
  const auto longest = std::chrono::duration_cast<Span>(intervals_.spread).count();
  gap_ = now + Span(std::uniform_int_distribution<Span::rep>(0, std::max<Span::rep>(longest, 0))(rng_));
}

void SweepPlan::live(Time now, bool heard) {
  if (heard == heard_) return;
  heard_ = heard;
  // Heard again: the long interval counts from the last look. Deaf from now on: the short one counts from now, or a
  // hundred hosts that lose the same server would all look in the same moment.
  poll_due_ = heard ? ended_ + interval() : std::min(poll_due_, now + interval());
}

void SweepPlan::look_in(Time now, Span delay) {
  const Time when = now + std::max(delay, Span::zero());
  asked_ = asked_ ? std::min(*asked_, when) : when;
}

void SweepPlan::done(Time now, bool full) {
  if (!looking_) return;
  looking_ = false;
  more_ = full;
  ended_ = now;
  poll_due_ = now + interval();
}

std::optional<SweepPlan::Time> SweepPlan::due() const {
  if (!started_ || looking_) return std::nullopt;
  Time when = poll_due_;
  if (resync_ || more_) when = ended_;  // at once
  if (hint_) when = std::min(when, hint_due());
  if (gap_) when = std::min(when, *gap_);
  if (asked_) when = std::min(when, *asked_);
  return when;
}

std::optional<Why> SweepPlan::begin(Time now) {
  const auto when = due();
  if (!when || *when > now) return std::nullopt;
  const bool asked = asked_ && *asked_ <= now;
  // Whatever causes it, it begins after the gap: it is the look the gap asks for.
  const Why why = resync_ || gap_ ? Why::resync : hint_ ? Why::hint : more_ || asked ? Why::more : Why::poll;
  resync_ = hint_ = more_ = false;
  gap_.reset();
  asked_.reset();
  looking_ = true;
  begun_ = now;
  return why;
}

SweepPlan::Span SweepPlan::interval() {
  const Span base = heard_ ? intervals_.fallback : intervals_.poll;
  return std::chrono::duration_cast<Span>(base * std::uniform_real_distribution<double>(0.8, 1.2)(rng_));
}

SweepPlan::Time SweepPlan::hint_due() const { return begun_ + intervals_.debounce; }

}  // namespace romancy::proc
