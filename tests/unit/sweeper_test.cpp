#include "common/proc/sweeper.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "tests/unit/hub_support.hpp"

namespace romancy::proc {
namespace {

using namespace std::chrono_literals;
using Time = SweepPlan::Time;

constexpr SweepIntervals kIntervals{.poll = 1s, .fallback = 30s, .debounce = 5ms};

// A plan on a clock that stands still unless the test moves it.
struct Desk {
  SweepPlan plan{kIntervals, 42};
  Time now{1h};

  Desk() {
    plan.start(now);
    EXPECT_EQ(plan.begin(now), Why::resync);
    plan.done(now, false);
  }
  // The span from now to the next look.
  [[nodiscard]] std::chrono::nanoseconds next() const { return *plan.due() - now; }
};

TEST(SweepPlan, TheFirstLookIsDueAtOnce) {
  SweepPlan plan(kIntervals, 1);
  EXPECT_EQ(plan.due(), std::nullopt);
  const Time now{1h};
  plan.start(now);
  EXPECT_LE(plan.due(), now);
  EXPECT_EQ(plan.begin(now), Why::resync);
}

TEST(SweepPlan, PollsWithoutHintsWithinTwentyPercentOfTheInterval) {
  Desk desk;
  std::chrono::nanoseconds shortest = 1h, longest = 0s;
  for (int i = 0; i < 200; ++i) {
    const auto wait = desk.next();
    shortest = std::min(shortest, wait);
    longest = std::max(longest, wait);
    EXPECT_EQ(desk.plan.begin(desk.now + wait - 1ns), std::nullopt);
    desk.now += wait;
    EXPECT_EQ(desk.plan.begin(desk.now), Why::poll);
    desk.now += 3s;  // a long look: the interval counts from its end
    desk.plan.done(desk.now, false);
  }
  EXPECT_GE(shortest, 800ms);
  EXPECT_LE(longest, 1200ms);
  EXPECT_LT(shortest, 850ms);
  EXPECT_GT(longest, 1150ms);
}

TEST(SweepPlan, TheLongIntervalCountsWhileNotificationsAreHeard) {
  Desk desk;
  desk.plan.live(desk.now, true);
  EXPECT_GE(desk.next(), 24s);
  EXPECT_LE(desk.next(), 36s);
  desk.now += 10s;
  desk.plan.live(desk.now, false);
  EXPECT_GE(desk.next(), 800ms);  // from now on, not from ten seconds ago: hosts must not look at once
  EXPECT_LE(desk.next(), 1200ms);
}

TEST(SweepPlan, GoingDeafNeverPutsALookOff) {
  Desk desk;
  desk.plan.live(desk.now, true);
  desk.now = *desk.plan.due() - 1ms;
  desk.plan.live(desk.now, false);
  EXPECT_LE(desk.next(), 1ms);
}

TEST(SweepPlan, AHintIsLookedAtAtOnceThenDebounced) {
  Desk desk;
  desk.now += 1ms;
  desk.plan.hint();
  EXPECT_EQ(desk.next(), 4ms);  // the look before began a millisecond ago
  desk.now += 4ms;
  EXPECT_EQ(desk.plan.begin(desk.now), Why::hint);
  desk.plan.done(desk.now, false);
  desk.now += 500ms;
  desk.plan.hint();
  EXPECT_LE(desk.next(), 0ns);
}

TEST(SweepPlan, WhateverAsksDuringALookMakesOneMore) {
  Desk desk;
  desk.now += 1s;
  desk.plan.hint();
  EXPECT_EQ(desk.plan.begin(desk.now), Why::hint);
  for (int i = 0; i < 10; ++i) desk.plan.hint();
  desk.plan.look_in(desk.now, 0ns);
  EXPECT_EQ(desk.plan.due(), std::nullopt);
  desk.now += 1s;
  desk.plan.done(desk.now, false);
  EXPECT_EQ(desk.plan.begin(desk.now), Why::hint);
  desk.plan.done(desk.now, false);
  EXPECT_EQ(desk.plan.begin(desk.now), std::nullopt);
  EXPECT_GE(desk.next(), 800ms);
}

TEST(SweepPlan, AFullLookIsFollowedAtOnce) {
  Desk desk;
  desk.now += 1s;
  desk.plan.hint();
  EXPECT_EQ(desk.plan.begin(desk.now), Why::hint);
  desk.plan.done(desk.now, true);
  EXPECT_EQ(desk.plan.begin(desk.now), Why::more);
  desk.plan.done(desk.now, true);
  EXPECT_EQ(desk.plan.begin(desk.now), Why::more);
  desk.plan.done(desk.now, false);
  EXPECT_EQ(desk.plan.begin(desk.now), std::nullopt);
}

TEST(SweepPlan, AResyncIsNotDebouncedAndOutranksAHint) {
  Desk desk;
  desk.plan.hint();
  desk.plan.resync();
  EXPECT_EQ(desk.plan.begin(desk.now), Why::resync);
}

TEST(SweepPlan, AfterAGapAHundredHostsLookOnceEachAndNotAtOnce) {
  std::vector<std::chrono::nanoseconds> waits;
  for (std::uint64_t host = 0; host < 100; ++host) {
    SweepPlan plan({.poll = 1s, .fallback = 30s, .spread = 500ms}, host);
    const Time now{1h};
    plan.start(now);
    plan.begin(now);
    plan.done(now, false);
    plan.live(now, true);
    plan.gap(now);
    plan.gap(now);  // a second one before the look puts nothing off
    const Time due = *plan.due();
    waits.push_back(due - now);
    EXPECT_EQ(plan.begin(due), Why::resync);
    plan.done(due, false);
    EXPECT_GE(*plan.due() - due, 24s) << "one look is enough";
  }
  std::sort(waits.begin(), waits.end());
  EXPECT_GE(waits.front(), 0ms);
  EXPECT_LE(waits.back(), 500ms);
  EXPECT_LT(waits[25], 250ms);  // spread out, not bunched
  EXPECT_GT(waits[75], 250ms);
  for (std::size_t i = 0; i + 10 < waits.size(); ++i) EXPECT_GT(waits[i + 10] - waits[i], 1ms);
}

TEST(SweepPlan, AHintDoesNotWaitForTheLookAfterAGapAndIsThatLook) {
  SweepPlan plan({.poll = 1s, .fallback = 30s, .spread = 10s}, 7);
  Time now{1h};
  plan.start(now);
  plan.begin(now);
  plan.done(now, false);
  plan.live(now, true);
  now += 1s;
  plan.gap(now);
  plan.hint();
  EXPECT_EQ(plan.begin(now), Why::resync);
  plan.done(now, false);
  EXPECT_GE(*plan.due() - now, 24s);
  plan.gap(now);
  plan.resync();  // this host's own: at once
  EXPECT_EQ(plan.begin(now), Why::resync);
  plan.gap(now);  // during a look: that one began before it
  plan.done(now, false);
  EXPECT_LE(*plan.due() - now, 10s);
}

TEST(SweepPlan, LookInIsTheLatestMomentAndTheEarliestAskedForCounts) {
  Desk desk;
  desk.plan.live(desk.now, true);
  desk.plan.look_in(desk.now, 200ms);
  desk.plan.look_in(desk.now, 50ms);
  desk.plan.look_in(desk.now, 400ms);
  EXPECT_EQ(desk.next(), 50ms);
  desk.now += 50ms;
  EXPECT_EQ(desk.plan.begin(desk.now), Why::more);
  desk.plan.look_in(desk.now, 20ms);  // during the look: it stands after it
  desk.plan.done(desk.now, false);
  EXPECT_EQ(desk.next(), 20ms);
}

TEST(SweepPlan, NothingIsDueAfterStop) {
  Desk desk;
  desk.plan.hint();
  desk.plan.stop();
  EXPECT_EQ(desk.plan.due(), std::nullopt);
  desk.plan.start(desk.now);
  EXPECT_EQ(desk.plan.begin(desk.now), Why::resync);
}

TEST(SweepPlan, WhateverHappensALookBeginsWithinOneAndAFifthOfTheInterval) {
  Desk desk;
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    const Time ended = desk.now;
    for (std::uint32_t n = random() % 4; n > 0; --n) {
      switch (random() % 4) {
        case 0: desk.plan.hint(); break;
        case 1: desk.plan.look_in(desk.now, std::chrono::milliseconds(random() % 2000)); break;
        case 2: desk.plan.live(desk.now, random() % 2 == 0); break;
        case 3: desk.plan.resync(); break;
      }
    }
    ASSERT_TRUE(desk.plan.due().has_value());
    EXPECT_LE(*desk.plan.due(), ended + 36s);
    desk.now = std::max(desk.now, *desk.plan.due());
    ASSERT_TRUE(desk.plan.begin(desk.now).has_value());
    desk.plan.done(desk.now, random() % 3 == 0);
  }
}

// ---- the Sweeper itself, on a real loop

struct Looks {
  std::vector<Why> seen;
  std::unique_ptr<Sweeper> sweeper;
};

TEST(Sweeper, LooksAtOnceAndThenByItsPollWithoutAnyHint) {
  io::Loop loop;
  Looks looks;
  looks.sweeper = std::make_unique<Sweeper>(loop, SweepIntervals{.poll = 2ms, .fallback = 1h}, [&](Why why) {
    looks.seen.push_back(why);
    looks.sweeper->done(false);
  });
  looks.sweeper->start();
  EXPECT_TRUE(looks.seen.empty());  // never from within a call
  ASSERT_TRUE(test::run_until(loop, [&] { return looks.seen.size() >= 4; }));
  EXPECT_EQ(std::vector<Why>(looks.seen.begin(), looks.seen.begin() + 4),
            (std::vector<Why>{Why::resync, Why::poll, Why::poll, Why::poll}));
}

TEST(Sweeper, HintsDuringALookMakeExactlyOneMore) {
  io::Loop loop;
  Looks looks;
  looks.sweeper = std::make_unique<Sweeper>(loop, SweepIntervals{.poll = 1h, .fallback = 1h},
                                            [&](Why why) { looks.seen.push_back(why); });
  looks.sweeper->start();
  ASSERT_TRUE(test::run_until(loop, [&] { return looks.seen.size() == 1; }));
  for (int i = 0; i < 100; ++i) looks.sweeper->hint();
  test::run_turns(loop);
  EXPECT_EQ(looks.seen.size(), 1u);  // one at a time
  EXPECT_TRUE(looks.sweeper->looking());
  looks.sweeper->done(false);
  ASSERT_TRUE(test::run_until(loop, [&] { return looks.seen.size() == 2; }));
  EXPECT_EQ(looks.seen.back(), Why::hint);
  looks.sweeper->done(false);
  test::run_turns(loop);
  EXPECT_EQ(looks.seen.size(), 2u);
}

TEST(Sweeper, AFullLookIsFollowedByTheNextWithoutAPoll) {
  io::Loop loop;
  Looks looks;
  int batches = 3;
  looks.sweeper = std::make_unique<Sweeper>(loop, SweepIntervals{.poll = 1h, .fallback = 1h}, [&](Why why) {
    looks.seen.push_back(why);
    looks.sweeper->done(--batches > 0);
  });
  looks.sweeper->start();
  ASSERT_TRUE(test::run_until(loop, [&] { return batches == 0; }));
  EXPECT_EQ(looks.seen, (std::vector<Why>{Why::resync, Why::more, Why::more}));
}

TEST(Sweeper, TheIntervalFollowsWhetherNotificationsAreHeard) {
  io::Loop loop;
  Looks looks;
  looks.sweeper = std::make_unique<Sweeper>(loop, SweepIntervals{.poll = 1ms, .fallback = 1h}, [&](Why why) {
    looks.seen.push_back(why);
    looks.sweeper->done(false);
  });
  looks.sweeper->live(true);
  looks.sweeper->start();
  test::run_turns(loop);
  EXPECT_EQ(looks.seen.size(), 1u);
  looks.sweeper->live(false);
  ASSERT_TRUE(test::run_until(loop, [&] { return looks.seen.size() >= 5; }));
}

TEST(Sweeper, OnlyAGapThatAllHostsShareIsSpread) {
  io::Loop loop;
  Looks looks;
  looks.sweeper = std::make_unique<Sweeper>(loop, SweepIntervals{.poll = 1h, .fallback = 1h, .spread = 30min}, [&](Why why) {
    looks.seen.push_back(why);
    looks.sweeper->done(false);
  });
  looks.sweeper->start();
  ASSERT_TRUE(test::run_until(loop, [&] { return looks.seen.size() == 1; }));
  looks.sweeper->resync("gap");
  looks.sweeper->resync("listener");
  test::run_turns(loop, 50);
  EXPECT_EQ(looks.seen.size(), 1u);
  std::size_t seen = 1;
  for (const char* own : {"connected", "overflow", "departure", "a reason of a later version"}) {
    looks.sweeper->resync(own);
    ASSERT_TRUE(test::run_until(loop, [&] { return looks.seen.size() == seen + 1; })) << own;
    ++seen;
  }
}

TEST(Sweeper, MayBeStoppedOrDestroyedFromWithinALook) {
  io::Loop loop;
  Looks looks;
  looks.sweeper = std::make_unique<Sweeper>(loop, SweepIntervals{.poll = 1ms, .fallback = 1ms}, [&](Why why) {
    looks.seen.push_back(why);
    looks.sweeper->hint();
    if (looks.seen.size() == 1) {
      looks.sweeper->done(true);
      looks.sweeper->stop();
      loop.post([&] { looks.sweeper->start(); });
    } else {
      looks.sweeper.reset();
    }
  });
  looks.sweeper->start();
  ASSERT_TRUE(test::run_until(loop, [&] { return looks.sweeper == nullptr; }));
  test::run_turns(loop);
  EXPECT_EQ(looks.seen.size(), 2u);
}

}  // namespace
}  // namespace romancy::proc
