#include "supervisor/restart_policy.hpp"

#include <cstdlib>
#include <utility>

namespace romancy::supervisor {
namespace {

using S = ChildState;
using V = ChildEvent;
using E = ChildEffect;

struct Rule {
  ChildState from;
  ChildEvent event;
  ChildState to;
  ChildEffect effect;
};

// What changes anything. Every other pair stays where it is and does nothing.
constexpr Rule kRules[] = {
    // from         event             to             effect
    {S::exited,     V::start,         S::starting,   E::spawn},
    {S::exited,     V::restart,       S::starting,   E::spawn},

    {S::starting,   V::ready,         S::ready,      E::none},
    {S::starting,   V::spawn_failed,  S::backoff,    E::wait},
    {S::starting,   V::hung,          S::starting,   E::terminate},  // its death comes as an event of its own
    {S::starting,   V::crashed,       S::backoff,    E::wait},
    {S::starting,   V::crashed_once,  S::starting,   E::spawn},
    {S::starting,   V::refused,       S::held,       E::none},
    {S::starting,   V::stop,          S::draining,   E::drain},      // the word waits in its socket until it reads
    {S::starting,   V::restart,       S::restarting, E::drain},
    {S::starting,   V::drain,         S::draining,   E::finish},

    {S::ready,      V::hung,          S::ready,      E::terminate},
    {S::ready,      V::crashed,       S::backoff,    E::wait},
    {S::ready,      V::crashed_once,  S::starting,   E::spawn},
    {S::ready,      V::refused,       S::held,       E::none},
    {S::ready,      V::stop,          S::draining,   E::drain},
    {S::ready,      V::restart,       S::restarting, E::drain},
    {S::ready,      V::drain,         S::draining,   E::finish},

    {S::draining,   V::crashed,       S::exited,     E::none},       // however it ended: it was asked to
    {S::draining,   V::crashed_once,  S::exited,     E::none},
    {S::draining,   V::refused,       S::exited,     E::none},
    {S::draining,   V::start,         S::restarting, E::none},
    {S::draining,   V::restart,       S::restarting, E::drain},      // one that was told to finish: no longer patiently
    {S::draining,   V::stop,          S::draining,   E::drain},

    {S::restarting, V::crashed,       S::starting,   E::spawn},
    {S::restarting, V::crashed_once,  S::starting,   E::spawn},
    {S::restarting, V::refused,       S::starting,   E::spawn},      // the configuration may be why it is restarted
    {S::restarting, V::restart,       S::restarting, E::drain},
    {S::restarting, V::stop,          S::draining,   E::drain},
    {S::restarting, V::drain,         S::draining,   E::none},

    {S::backoff,    V::delay_over,    S::starting,   E::spawn},
    {S::backoff,    V::start,         S::starting,   E::spawn},
    {S::backoff,    V::restart,       S::starting,   E::spawn},
    {S::backoff,    V::stop,          S::exited,     E::forget},
    {S::backoff,    V::drain,         S::exited,     E::forget},

    {S::held,       V::start,         S::starting,   E::spawn},
    {S::held,       V::restart,       S::starting,   E::spawn},
    {S::held,       V::stop,          S::exited,     E::none},
    {S::held,       V::drain,         S::exited,     E::none},
};

}  // namespace

Transition step(ChildState from, ChildEvent event) {
  for (const Rule& rule : kRules) {
    if (rule.from == from && rule.event == event) return {rule.to, rule.effect};
  }
  return {from, ChildEffect::none};
}

std::string_view state_name(ChildState state) {
  switch (state) {
    case ChildState::exited: return "exited";
    case ChildState::starting: return "starting";
    case ChildState::ready: return "ready";
    case ChildState::draining: return "draining";
    case ChildState::restarting: return "restarting";
    case ChildState::backoff: return "backoff";
    case ChildState::held: return "held";
    case ChildState::count_: break;
  }
  std::abort();
}

std::string_view status_word(ChildState state) {
  if (state == ChildState::exited) return "stopped";
  return state_name(state == ChildState::restarting ? ChildState::draining : state);
}

Tally::Tally(std::chrono::milliseconds restart_delay, std::chrono::milliseconds restart_delay_max, std::uint64_t seed)
    : backoff_(restart_delay, restart_delay_max, seed), longest_(restart_delay_max) {}

Tally::Verdict Tally::died(Time now, std::optional<Time> ready_since) {
  if (ready_since && now - *ready_since >= kStable) forgive();
  while (!deaths_.empty() && now - deaths_.front() >= kWindow) deaths_.pop_front();
  deaths_.push_back(now);
  if (deaths_.size() > kMany) deaths_.pop_front();
  const bool first = std::exchange(clean_, false);
  if (first && ready_since) return {.at_once = true};
  if (deaths_.size() >= kMany) return {.at_once = false, .delay = longest_, .throttled = true};
  return {.at_once = false, .delay = backoff_.next()};
}

Tally::Verdict Tally::away() { return {.at_once = false, .delay = backoff_.next()}; }

Tally::Verdict Tally::not_started() {
  return {.at_once = false, .delay = not_started_++ == 0 ? kNotStarted : kNotStartedAgain};
}

void Tally::forgive() {
  deaths_.clear();
  backoff_.reset();
  clean_ = true;
  not_started_ = 0;
}

void Tally::waits(std::chrono::milliseconds restart_delay, std::chrono::milliseconds restart_delay_max) {
  const int tries = backoff_.tries();
  backoff_ = Backoff(restart_delay, restart_delay_max);
  longest_ = restart_delay_max;
  for (int n = 0; n < tries; ++n) backoff_.next();
}

Tally::Record Tally::record() const {
  return {{deaths_.begin(), deaths_.end()}, clean_, backoff_.tries(), not_started_};
}

void Tally::take_over(const Record& record) {
  deaths_.assign(record.deaths.begin(), record.deaths.end());
  clean_ = record.clean;
  not_started_ = record.not_started;
  backoff_.reset();
  for (int n = 0; n < record.tries; ++n) backoff_.next();
}

}  // namespace romancy::supervisor
