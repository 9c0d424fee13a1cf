#include "common/io/alarms.hpp"

#include <algorithm>

namespace romancy::io {

Alarms::Alarms(Loop& loop) : alarm_(loop, [this] { ring(); }) {}

Alarms::Id Alarms::set_in(std::chrono::nanoseconds delay, std::function<void()> on_due) {
  const auto now = Clock::now();
  const auto when = now + std::min(std::max(delay, std::chrono::nanoseconds(0)),
                                   std::chrono::nanoseconds(Clock::time_point::max() - now));
  const Id id = ++last_;
  queue_.emplace(Key{when, id}, std::move(on_due));
  moments_.emplace(id, when);
  arm();
  return id;
}

void Alarms::cancel(Id id) {
  const auto found = moments_.find(id);
  if (found == moments_.end()) return;
  queue_.erase(Key{found->second, id});
  moments_.erase(found);
  arm();
}

// Only what is due now: a callback that sets a moment in the past gets the next turn.
void Alarms::ring() {
  const auto now = Clock::now();
  const Id newest = last_;
  while (!queue_.empty() && queue_.begin()->first.first <= now && queue_.begin()->first.second <= newest) {
    auto node = queue_.extract(queue_.begin());
    moments_.erase(node.key().second);
    node.mapped()();
  }
  arm();
}

void Alarms::arm() {
  if (queue_.empty()) return alarm_.cancel();
  alarm_.set_at(queue_.begin()->first.first);
}

}  // namespace romancy::io
