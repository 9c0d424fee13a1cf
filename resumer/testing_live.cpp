// One instance of a World: its attempts, and what of it the world must know.
#include <algorithm>

#include "resumer/testing_engine.hpp"

namespace romancy::testing {

using resumer::ActivityStart;

Live::Live(World& world, std::string whose, std::int32_t op, int generation_of_parent, bool follows_it)
    : parent(std::move(whose)), parents_op(op), parents_generation(generation_of_parent), follows(follows_it), world_(world) {}

const resumer::Registry& Live::registry() const { return world_.registry(); }

void Live::begin(const ActivityStart& start) {
  const auto delay = std::chrono::duration_cast<std::chrono::microseconds>(start.delay).count();
  running_.push_back({start, world_.clock_us + delay});
}

void Live::run_attempt(Running& one) {
  const auto outcome = world_.attempt(id(), one.start.name, one.start.input, one.start.attempt, one.start.key);
  one.begun = true;  // not when that threw a Failure: the test may mend it and run() again
  one.result = outcome.result;
  one.hangs = !outcome.takes;
  if (outcome.takes) one.ends_us = one.begins_us + outcome.takes->count();
  const ActivityRef* activity = registry().activity(one.start.name);
  const std::chrono::microseconds limit = activity != nullptr ? activity->options().timeout : std::chrono::milliseconds(0);
  if (limit.count() == 0 || (one.ends_us && *one.ends_us <= one.begins_us + limit.count())) return;
  one.ends_us = one.begins_us + limit.count();
  one.result = detail::failure("AttemptTimedOut", "no result within " + std::to_string(limit.count() / 1000) + " ms");
}

// Nothing but a wish to stop brings it back.
bool Live::stops(const Running& one) const {
  return one.hangs && asked_to_end() && stoppable(one.start.op);
}

std::optional<std::int64_t> Live::due(const Running& one) const {
  if (!one.begun) return one.begins_us;
  if (stops(one)) return world_.clock_us;
  return one.ends_us;
}

std::optional<std::int64_t> Live::next_due() {
  std::optional<std::int64_t> first;
  for (const Running& one : running_) {
    if (const auto at = due(one); at && (!first || *at < *first)) first = at;
  }
  return first;
}

bool Live::any_ended() const {
  return std::any_of(running_.begin(), running_.end(), [&](const Running& one) {
    const auto at = due(one);
    return at && *at <= world_.clock_us;
  });
}

std::optional<Live::Ended> Live::next_ended(bool) {
  for (Running& one : running_) {
    if (!one.begun && one.begins_us <= world_.clock_us && awaits(one.start.op)) run_attempt(one);
  }
  std::erase_if(running_, [&](const Running& one) { return !awaits(one.start.op); });
  auto first = running_.end();
  for (auto one = running_.begin(); one != running_.end(); ++one) {
    const auto at = due(*one);
    if (at && *at <= world_.clock_us && (first == running_.end() || *at < *due(*first))) first = one;
  }
  if (first == running_.end()) return std::nullopt;
  if (stops(*first)) first->result = detail::failure("Stopped", "asked to stop");
  Ended ended{std::move(first->start), std::move(first->result)};
  running_.erase(first);
  return ended;
}

void Live::stop(std::int32_t op) {
  std::erase_if(running_, [&](const Running& one) { return one.start.op == op; });
}

bool Live::end_hanging(const std::string& activity, const AttemptResult& result) {
  for (Running& one : running_) {
    if (one.start.name != activity || !one.hangs) continue;
    one.hangs = false;
    one.ends_us = world_.clock_us;
    one.result = result;
    return true;
  }
  return false;
}

bool Live::may_subscribe(const resumer::SubscriptionChange& change) { return world_.may_subscribe(*this, change); }
void Live::returned(const resumer::InboxRow& row) { world_.returned(row); }
void Live::committed(const resumer::Output& output) { world_.committed(*this, output); }
void Live::death() { world_.everybody_dies(); }
void Live::wrong(const std::string& what) const {
  throw std::logic_error("romancy::testing: instance '" + id() + "': this is a defect of the library: " + what);
}

}  // namespace romancy::testing
