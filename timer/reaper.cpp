#include "timer/reaper.hpp"

#include <algorithm>

namespace romancy::timer {

void Reaper::connected(Time now, bool again) {
  expired_from_ = now + session_timeout_;
  locks_from_ = again ? expired_from_ : now;
  locks_wanted_ = true;
  // What was under way is answered (the connection's promise); what was on trial is judged by the sweep: deaths
  // reported before an outage prove nothing about the sessions after it.
  trials_.clear();
}

void Reaper::gone(Time now, std::int64_t session) {
  put(session, now, now + session_timeout_);
}

void Reaper::suspect(Time now, std::int64_t session) {
  put(session, now, now);
}

void Reaper::put(std::int64_t session, Time now, Time give_up) {
  if (trials_.size() >= kMostTrials && !trials_.contains(session)) return gap();
  Trial& trial = trials_[session];
  trial.next = now;
  trial.give_up = std::max(trial.give_up, give_up);
  trial.wait = kFirstRetry;
}

std::vector<std::int64_t> Reaper::due(Time now) {
  std::vector<std::int64_t> sessions;
  for (auto& [session, trial] : trials_) {
    if (trial.under_way || trial.next > now) continue;
    trial.under_way = true;
    sessions.push_back(session);
  }
  return sessions;
}

void Reaper::tried(Time now, std::int64_t session, bool ended) {
  const auto found = trials_.find(session);
  if (found == trials_.end()) return;
  Trial& trial = found->second;
  trial.under_way = false;
  if (ended || now >= trial.give_up) {
    trials_.erase(found);
    return;
  }
  trial.next = now + trial.wait;
  trial.wait = std::min(trial.wait * 2, kLongestRetry);
}

std::optional<Reaper::Time> Reaper::next_trial() const {
  std::optional<Time> next;
  for (const auto& [session, trial] : trials_) {
    if (!trial.under_way && (!next || trial.next < *next)) next = trial.next;
  }
  return next;
}

Reaper::Sweep Reaper::sweep(Time now, bool hub_tells) {
  if (now < locks_from_) return Sweep::nothing;
  const bool locks = locks_wanted_ || !hub_tells;
  if (now < expired_from_) {
    if (!locks) return Sweep::nothing;
    locks_wanted_ = false;
    return Sweep::list;
  }
  locks_wanted_ = false;
  return locks ? Sweep::expired_and_free : Sweep::expired;
}

std::optional<std::chrono::nanoseconds> Reaper::look_again(Time now,
                                                           std::optional<std::chrono::microseconds> expiry) const {
  // It was too early for something: when is it time?
  if (locks_from_ != Time::max() && locks_from_ > now) return locks_from_ - now;
  if (expired_from_ != Time::max() && expired_from_ > now) return expired_from_ - now;
  if (!expiry) return std::nullopt;
  if (expiry->count() >= 0) return *expiry + std::chrono::milliseconds(1);
  // Expired and still there: somebody holds its row for a moment. Not in a tight loop.
  return std::max<std::chrono::nanoseconds>(session_timeout_ / 10, std::chrono::milliseconds(50));
}

}  // namespace romancy::timer
