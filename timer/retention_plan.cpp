#include "timer/retention_plan.hpp"

#include <algorithm>
#include <utility>

namespace romancy::timer {
namespace {

std::vector<RetentionPlan::Kind> with_a_time(std::vector<RetentionPlan::Kind> kinds) {
  std::erase_if(kinds, [](const auto& kind) { return kind.keep.count() == 0; });
  return kinds;
}

}  // namespace

RetentionPlan::RetentionPlan(std::vector<Kind> kinds, ms interval)
    : kinds_(with_a_time(std::move(kinds))), interval_(interval) {}

std::chrono::microseconds RetentionPlan::answered(const Removed& removed, std::chrono::microseconds took) {
  again_ = removed.more;
  if (again_) return took;
  next_ = std::min({next_, std::chrono::microseconds(current().keep), removed.next_in.value_or(kLongest)});
  if (++at_ < kinds_.size()) return took;
  at_ = 0;
  return std::max(std::exchange(next_, kLongest), std::chrono::microseconds(interval_));
}

std::chrono::microseconds RetentionPlan::failed() {
  at_ = 0;
  again_ = false;
  next_ = kLongest;
  return interval_;
}

}  // namespace romancy::timer
