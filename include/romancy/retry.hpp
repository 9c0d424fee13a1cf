// retry: how often and after which pauses an activity is tried again.
//
// The pause after attempt n is first_interval * coefficient^(n-1), at most max_interval, less a part of it that is
// derived from the idempotency key (so a rebuilt run waits the same). Pauses up to a second wait in memory and are
// forgotten when the process dies (the attempt is made anew); longer ones wait in the database, and the number of
// attempts made survives with them.
#pragma once
#include <chrono>
#include <string>

namespace romancy {

struct RetryPolicy {
  int attempts = 3;                                   // in all; 0: for ever; 1: never again
  std::chrono::milliseconds first_interval{100};
  double coefficient = 2.0;                           // at least 1
  std::chrono::milliseconds max_interval{10'000};
  double jitter = 0.2;                                // 0 .. 1: the largest part a pause is shortened by
};

namespace detail {

// Empty, or which field is wrong and what it may be: "retry.attempts: -1 is not in 0 .. 1000000".
std::string retry_problem(const RetryPolicy& policy);
// The pause after the failure of `attempt` (from 1). Pure: the same arguments give the same pause.
std::chrono::milliseconds retry_delay(const RetryPolicy& policy, int attempt, const std::string& key);

}  // namespace detail
}  // namespace romancy
