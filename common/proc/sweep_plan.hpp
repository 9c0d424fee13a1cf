// SweepPlan: when the next look at the database is due, and why. The pure half of Sweeper: no clock, no alarm.
//
// Everything that asks for a look before it begins is answered by that one look; everything that asks while it is
// under way is answered by one more.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

namespace romancy::proc {

// more: this process knows of something itself (a full batch, a locked row, a run it let go).
enum class Why { hint, resync, poll, more };

struct SweepIntervals {
  std::chrono::milliseconds poll;         // while notifications are not heard
  std::chrono::milliseconds fallback;     // while they are
  std::chrono::milliseconds debounce{5};  // between looks caused by hints
  std::chrono::milliseconds spread{0};    // over which the looks of all hosts after a gap are spread
};

class SweepPlan {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Span = std::chrono::nanoseconds;
  SweepPlan(SweepIntervals intervals, std::uint64_t seed) : intervals_(intervals), rng_(seed) {}

  void start(Time now);
  void stop();
  void hint();
  void resync();
  void gap(Time now);  // a resync that every host hears in the same moment: the look is due within `spread`
  void live(Time now, bool heard);
  void look_in(Time now, Span delay);
  void done(Time now, bool full);

  // When the next look is due; nothing while one is under way, and before start().
  [[nodiscard]] std::optional<Time> due() const;
  // Begins the look if it is due, and says why. When several reasons meet, the one that tells most about the system
  // wins: resync, hint, more, poll.
  std::optional<Why> begin(Time now);
  [[nodiscard]] bool looking() const { return looking_; }

 private:
  Span interval();  // the one that counts now, +-20 %
  [[nodiscard]] Time hint_due() const;

  SweepIntervals intervals_;
  std::mt19937_64 rng_;
  bool started_ = false;
  bool looking_ = false;
  bool heard_ = false;
  bool resync_ = false;
  std::optional<Time> gap_;  // when the look after a gap is due
  bool hint_ = false;
  bool more_ = false;
  std::optional<Time> asked_;  // look_in()
  Time begun_{};               // of the last look
  Time ended_{};
  Time poll_due_{};
};

}  // namespace romancy::proc
