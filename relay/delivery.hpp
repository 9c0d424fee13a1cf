// delivery: what the sink's answer means for one event. Pure.
//
//   2xx                       delivered
//   413, 415, 422             give up: the answer blames this event itself; sending it again cannot help
//   everything else           try again: no answer, time-out, 5xx, 408, 429 .. but also 400, 401, 403, 404, 410 and
//                             redirects, which blame our address or credentials: the operator will mend those, and an
//                             event given up meanwhile would be an event lost (reference: E6, "408/429 terminal")
//   the last allowed attempt  give up (relay.max_attempts; 0: never)
//
// The wait before attempt n+1 is in [d/2, d], d = retry_delay doubled n-1 times, at most retry_delay_max; a Retry-After
// that asks for longer is honoured up to an hour. Nobody else waits for this event meanwhile.
#pragma once
#include <chrono>
#include <optional>
#include <string>

namespace romancy::relay {

struct Answer {
  int status = 0;                                   // of HTTP; 0: no answer
  std::optional<std::chrono::seconds> retry_after;  // as the sink asked
  std::string error;                                // status 0: why; else may hold the beginning of the body
};

struct RetryRule {
  std::chrono::milliseconds first;
  std::chrono::milliseconds longest;
  int attempts = 0;  // 0: for ever
};

enum class Fate { delivered, again, given_up };

struct Verdict {
  Fate fate = Fate::again;
  std::chrono::milliseconds wait{};  // again: before the next attempt
  std::string why;                   // for last_error; empty when delivered
};

inline constexpr std::chrono::seconds kLongestRetryAfter{3600};

// `attempt` counts from 1. `jitter` in [0, 1).
Verdict judge(const Answer& answer, int attempt, const RetryRule& rule, double jitter);

}  // namespace romancy::relay
