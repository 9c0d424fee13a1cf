#include "timer/deadlines.hpp"

#include <gtest/gtest.h>

namespace romancy::timer {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kClock = 1'800'000'000'000'000;  // the database's clock, nowhere near this host's
const Deadlines::Time kNow = Deadlines::Time() + 1h;

Deadlines::Answer answer(std::optional<std::int64_t> next_us, int fired = 0, int limit = 100) {
  return {.sent = kNow, .received = kNow, .fired = fired, .limit = limit, .clock_us = kClock, .next_us = next_us};
}

TEST(Deadlines, NothingKnownMeansEveryHintCounts) {
  Deadlines deadlines;
  EXPECT_FALSE(deadlines.look_at());
  EXPECT_TRUE(deadlines.hinted(kClock + 1));
  EXPECT_TRUE(deadlines.hinted(std::nullopt));
  deadlines.answered(answer(std::nullopt));
  EXPECT_FALSE(deadlines.look_at());
  EXPECT_TRUE(deadlines.hinted(kClock + 1));
}

TEST(Deadlines, LooksAtTheDeadlineItself) {
  Deadlines deadlines;
  deadlines.answered(answer(1'500'000));
  EXPECT_EQ(deadlines.look_at(), kNow + 1500ms);
  EXPECT_FALSE(deadlines.full());
}

TEST(Deadlines, CountsFromTheMiddleOfTheRoundTrip) {
  Deadlines deadlines;
  auto slow = answer(1'000'000);
  slow.received = kNow + 40ms;
  deadlines.answered(slow);
  EXPECT_EQ(deadlines.look_at(), kNow + 1020ms);
}

TEST(Deadlines, AHintOfSomethingLaterCostsNothing) {
  Deadlines deadlines;
  deadlines.answered(answer(1'000'000));
  EXPECT_FALSE(deadlines.hinted(kClock + 1'000'000));
  EXPECT_FALSE(deadlines.hinted(kClock + 2'000'000));
}

TEST(Deadlines, AHintOfSomethingEarlierIsALook) {
  Deadlines deadlines;
  deadlines.answered(answer(1'000'000));
  EXPECT_TRUE(deadlines.hinted(kClock + 999'999));
  EXPECT_TRUE(deadlines.hinted(std::nullopt)) << "an unreadable hint must not be taken for a late one";
}

// The forger names 1970 first, then an honest timer is registered: it must not be taken for covered.
TEST(Deadlines, AForgedHintHidesNoHonestOne) {
  Deadlines deadlines;
  deadlines.answered(answer(60'000'000));
  EXPECT_TRUE(deadlines.hinted(0));
  deadlines.looking();
  deadlines.answered(answer(60'000'000));
  EXPECT_TRUE(deadlines.hinted(kClock + 1'000'000));
}

// A timer that commits while a look is under way may not be in its answer: its hint must cause another look.
TEST(Deadlines, DuringALookEveryHintCounts) {
  Deadlines deadlines;
  deadlines.answered(answer(1'000'000));
  deadlines.looking();
  EXPECT_TRUE(deadlines.hinted(kClock + 2'000'000));
}

TEST(Deadlines, AFullBatchIsFollowedByTheNextLook) {
  Deadlines deadlines;
  deadlines.answered(answer(-5, 100, 100));
  EXPECT_TRUE(deadlines.full());
  EXPECT_FALSE(deadlines.look_at()) << "the sweeper goes on by itself";
}

TEST(Deadlines, LockedTimersAreTriedAgainWithBackOff) {
  Deadlines deadlines;
  std::vector<std::chrono::nanoseconds> waits;
  for (int i = 0; i < 14; ++i) {
    deadlines.looking();
    deadlines.answered(answer(-1000));
    waits.push_back(*deadlines.look_at() - kNow);
  }
  EXPECT_EQ(waits[0], 0ms) << "it may just have become due between the two statements";
  EXPECT_EQ(waits[1], 1ms);
  EXPECT_EQ(waits[2], 2ms);
  EXPECT_EQ(waits[5], 16ms);
  EXPECT_EQ(waits[13], Deadlines::kLongestRetry);
  deadlines.answered(answer(5'000'000));
  deadlines.answered(answer(-1));
  EXPECT_EQ(*deadlines.look_at(), kNow) << "the back-off begins anew";
}

TEST(Deadlines, AFailedLookKnowsNothing) {
  Deadlines deadlines;
  deadlines.answered(answer(1'000'000));
  deadlines.failed();
  EXPECT_FALSE(deadlines.look_at());
  EXPECT_TRUE(deadlines.hinted(kClock + 5'000'000));
}

TEST(Deadlines, TheEndOfTimeDoesNotOverflow) {
  Deadlines deadlines;
  deadlines.answered(answer(std::int64_t{1} << 58));  // 9,000 years
  EXPECT_EQ(deadlines.look_at(), kNow + std::chrono::hours(24 * 365));
}

TEST(DeadlinesHint, UtcIsReadToTheMicrosecond) {
  EXPECT_EQ(parse_utc("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_utc("2026-01-31T23:59:59.123456Z"), 1'769'903'999'123'456);
  EXPECT_EQ(parse_utc("2026-01-31T23:59:59.5Z"), 1'769'903'999'500'000);
  EXPECT_EQ(parse_utc("2026-01-31T23:59:59+00:00"), 1'769'903'999'000'000);
}

TEST(DeadlinesHint, WhatIsNotUtcIsUnknown) {
  for (const char* text :
       {"", "Z", "tomorrow", "2026-01-31", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:59", "2026-01-31T23:59:59+01:00", "2026-01-31T23:59:59.Z", "2026-01-31T23:59:59.1234567Z",
        "2026-01-31T23:59:59,1Z", "-026-01-31T23:59:59Z", "infinity", "2026-1-31T23:59:59Z"}) {
    EXPECT_FALSE(parse_utc(text)) << text;
  }
}

TEST(DeadlinesHint, KindAndTimeAreRead) {
  const Hint hint = read_hint(R"({"instance_id":"o-1","timer_id":"timeout:7","expires_at":"1970-01-01T00:00:01Z"})");
  EXPECT_EQ(hint.kind, "timeout");
  EXPECT_EQ(hint.expires_us, 1'000'000);
}

TEST(DeadlinesHint, GarbageIsAnEmptyHint) {
  for (const char* payload :
       {"", "{", "[]", "7", R"({"timer_id":7,"expires_at":8})", R"({"timer_id":"sleep"})", "\xff\xfe"}) {
    const Hint hint = read_hint(payload);
    EXPECT_EQ(hint.kind, "") << payload;
    EXPECT_FALSE(hint.expires_us) << payload;
  }
}

}  // namespace
}  // namespace romancy::timer
