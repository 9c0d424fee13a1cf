#include "common/base/backoff.hpp"

#include <algorithm>

namespace romancy {

std::chrono::milliseconds Backoff::next() {
  // Doubled step by step and stopped at the cap: a shift by `tries_` would overflow after some hours of outage.
  auto delay = std::min(first_, longest_);
  for (int i = 0; i < tries_ && delay < longest_; ++i) delay = delay > longest_ / 2 ? longest_ : delay * 2;
  if (delay < longest_) ++tries_;
  if (delay.count() <= 0) return std::chrono::milliseconds{0};
  const auto longest = delay.count();
  std::uniform_int_distribution<std::chrono::milliseconds::rep> jitter(longest - longest / 2, longest);
  return std::chrono::milliseconds{jitter(rng_)};
}

}  // namespace romancy
