// retry: how often and after which pauses an activity is tried again.
//
// The pause after attempt n is first_interval * coefficient^(n-1), at most max_interval, less a part of it that is
// derived from the idempotency key (so a rebuilt run waits the same). Pauses up to a second wait in memory and are
// forgotten when the process dies (the attempt is made anew); longer ones wait in the database, and the number of
// attempts made survives with them.
//
// max_duration: no attempt begins later than this after the first one began, by the database's clock; a pause that would
// end later is not waited for, the activity fails at once. With it the first pause is always written, however short,
// together with the moment the first attempt began: restarts and long pauses do not start the time anew. What comes
// before that row is forgotten when the process dies, as the attempt itself is: then the time counts from the attempt
// that is made in its place.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace romancy {

struct RetryPolicy {
  int attempts = 3;                                   // in all; 0: for ever; 1: never again
  std::chrono::milliseconds first_interval{100};
  double coefficient = 2.0;                           // at least 1
  std::chrono::milliseconds max_interval{10'000};
  double jitter = 0.2;                                // 0 .. 1: the largest part a pause is shortened by
  std::chrono::milliseconds max_duration{0};          // over all attempts and pauses; 0: no limit
  // Error types that another attempt cannot help: what ActivityError::type() says, "std::out_of_range" or
  // "shop::CardDeclined" or "AttemptTimedOut". The whole name, no pattern.
  std::vector<std::string> non_retryable{};
};

namespace detail {

// Empty, or which field is wrong and what it may be: "retry.attempts: -1 is not in 0 .. 1000000".
std::string retry_problem(const RetryPolicy& policy);
// The pause after the failure of `attempt` (from 1). Pure: the same arguments give the same pause.
std::chrono::milliseconds retry_delay(const RetryPolicy& policy, int attempt, const std::string& key);

struct FailedAttempt {
  int number = 1;
  std::string_view type{};
  bool terminal = false;   // it said itself that no other can help
  bool retryable = false;  // whatever non_retryable says: the database asked for another try
  std::chrono::microseconds since_first{0};  // from the start of the first attempt to now
};
// The pause before the next attempt; none: it has failed for good. Pure.
std::optional<std::chrono::milliseconds> next_attempt(const RetryPolicy& policy, const FailedAttempt& failed,
                                                      const std::string& key);

}  // namespace detail
}  // namespace romancy
