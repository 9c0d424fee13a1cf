// Deadlines: when to look at the timers next. Pure: it is told what the database answered and what was hinted, and
// says when the next look is due; it has no clock and does no I/O.
//
// Two clocks meet here and are never mixed. The database says when a timer is due, and how many microseconds from
// *its* now that is; the look is then set that far ahead on our monotonic clock. A hint names an absolute time of the
// database's clock, and is compared only with another absolute time of the database's clock. The host's wall clock
// appears nowhere: five minutes wrong changes nothing (promise 7).
//
//   looking()     a look begins: what was known is being consumed, so until the answer every hint counts
//   answered()    the look is over: fired so many, the earliest that is left is due in so many microseconds
//   failed()      the look failed: the earliest deadline is unknown; the sweep comes back
//   hinted()      a timer was registered: true if a look is needed, false if the alarm is set early enough for it
//
// Promise: a forged hint costs at most one (debounced) look; it cannot hide a later, honest one, because what is
//          known comes from the database alone.
// Promise: timers that are due but locked by somebody else (another timer process, a run that is committing) are
//          tried again after 0, 1, 2, 4 .. kLongestRetry milliseconds, not in a tight loop.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace romancy::timer {

class Deadlines {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Answer {
    Time sent{};                          // the question left
    Time received{};                      // the answer was there
    int fired = 0;                        // by this look
    int limit = 0;                        // what it might have fired at most
    std::int64_t clock_us = 0;            // the database's clock, since 1970
    std::optional<std::int64_t> next_us;  // until the earliest timer that is left; may be negative; none: no timer
  };

  static constexpr std::chrono::milliseconds kLongestRetry{1000};

  void looking();
  void answered(const Answer& answer);
  void failed() { looking(); }
  // `expires_us`: the hint's expires_at in microseconds since 1970; nullopt: it could not be read.
  [[nodiscard]] bool hinted(std::optional<std::int64_t> expires_us) const;

  [[nodiscard]] bool full() const { return full_; }                       // the last look left due timers: look again
  [[nodiscard]] std::optional<Time> look_at() const { return look_at_; }  // none: nothing is known to be coming

 private:
  std::optional<std::int64_t> known_us_;  // absolute, database clock: the alarm is set for it or earlier
  std::optional<Time> look_at_;
  bool full_ = false;
  int locked_tries_ = 0;
};

// What a timer_expired notification says. Payloads are hints from anybody: whatever is unreadable is left empty.
struct Hint {
  std::string kind;                        // "sleep", "timeout", "retry", "start_at", "schedule"; empty: unknown
  std::optional<std::int64_t> expires_us;  // since 1970
};
Hint read_hint(std::string_view payload);

// "2026-01-31T23:59:59.123456Z" or "...+00:00": microseconds since 1970; nullopt for anything else.
std::optional<std::int64_t> parse_utc(std::string_view text);

}  // namespace romancy::timer
