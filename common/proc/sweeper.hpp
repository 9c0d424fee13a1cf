// Sweeper: decides when a process looks at the database: after a hint, after a gap, and by its own poll.
//
// At most one look is under way; whatever asks meanwhile makes one more look, not many. Looks caused by hints are
// at least `debounce` apart (a forger of notifications costs one cheap look each, no more). A look that found a full
// batch is followed by the next at once. The poll interval is `fallback` while notifications are heard, `poll`
// while they are not, each +-20 % so that a hundred hosts do not look at once; for the same reason the look after a gap
// that all of them share is due somewhere within `spread`. The decisions are in sweep_plan.hpp.
//
// Promise: whatever happens to hints, a look begins at the latest 1.2 intervals after the last one ended.
// Promise: `look` is never called from within a call to the Sweeper, always from the loop; it may call anything
//          here, done() included, and may destroy the Sweeper.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "common/io/loop.hpp"
#include "common/proc/sweep_plan.hpp"

namespace romancy::proc {

class Sweeper {
 public:
  using Intervals = SweepIntervals;
  // `look` begins one look; the owner calls done() when it has ended.
  Sweeper(io::Loop& loop, Intervals intervals, std::function<void(Why)> look);
  ~Sweeper();
  Sweeper(const Sweeper&) = delete;
  Sweeper& operator=(const Sweeper&) = delete;

  void start();                    // the first look is due at once (Why::resync)
  void stop();                     // no look begins any more; one under way still ends with done()
  void hint();                     // something happened
  void resync();                   // something may have happened unseen
  void resync(std::string_view why);  // the same, as the hub says it: after a gap that all hosts share, within `spread`
  void live(bool heard);           // which interval counts
  void done(bool full);            // the look has ended; full: there is more
  void look_in(std::chrono::nanoseconds delay);  // one look then at the latest (who skipped comes back)
  [[nodiscard]] bool looking() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::proc
