// Backoff: how long to wait before the next try. Exponential, capped, with jitter.
//
// next() returns a duration in [d/2, d] where d = first, 2*first, 4*first .. up to longest. The jitter keeps a
// hundred hosts that lost the same server from coming back in the same millisecond. Pure but for the generator.
#pragma once
#include <chrono>
#include <cstdint>
#include <random>

namespace romancy {

class Backoff {
 public:
  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds longest,
          std::uint64_t seed = std::random_device{}())
      : first_(first), longest_(longest), rng_(seed) {}

  // The next delay; each call doubles the one after it.
  std::chrono::milliseconds next();
  // After a success: the next delay is the first again.
  void reset() { tries_ = 0; }
  [[nodiscard]] int tries() const { return tries_; }

 private:
  std::chrono::milliseconds first_, longest_;
  int tries_ = 0;
  std::mt19937_64 rng_;
};

}  // namespace romancy
