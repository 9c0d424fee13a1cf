#include "relay/ledger.hpp"

#include <utility>

namespace romancy::relay {

void Ledger::claimed(std::vector<Event> events, std::int64_t session, Time send_before) {
  for (Event& event : events) waiting_.push_back({std::move(event), session, send_before});
}

std::optional<Ledger::Entry> Ledger::take(Time now) {
  while (!waiting_.empty()) {
    Entry entry = std::move(waiting_.front());
    waiting_.pop_front();
    if (now >= entry.send_before) continue;  // due again by itself
    ++sent_;
    return entry;
  }
  return std::nullopt;
}

void Ledger::delivered(const Entry& entry) {
  --sent_;
  ++known_;
  outcomes_[entry.session].delivered.push_back({entry.event.event_id, entry.event.attempt});
}

void Ledger::failed(const Entry& entry, Failed what) {
  --sent_;
  ++known_;
  outcomes_[entry.session].failed.push_back(std::move(what));
}

std::map<std::int64_t, Ledger::Outcomes> Ledger::take_outcomes() {
  telling_ += std::exchange(known_, 0);
  return std::exchange(outcomes_, {});
}

void Ledger::untold(std::int64_t session, Outcomes outcomes) {
  const std::size_t events = outcomes.delivered.size() + outcomes.failed.size();
  telling_ -= events;
  known_ += events;
  auto& into = outcomes_[session];
  for (Delivered& event : outcomes.delivered) into.delivered.push_back(std::move(event));
  for (Failed& event : outcomes.failed) into.failed.push_back(std::move(event));
}

}  // namespace romancy::relay
