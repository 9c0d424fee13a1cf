#include "timer/retention_plan.hpp"

#include <gtest/gtest.h>

namespace romancy::timer {
namespace {

using namespace std::chrono_literals;

RetentionPlan plan() {
  return {{{Kept::completed, 30min}, {Kept::failed, 0ms}, {Kept::delivered, 10min}}, 60s};
}

TEST(RetentionPlan, WhatIsKeptForEverIsNotLookedAt) {
  EXPECT_TRUE(RetentionPlan({{Kept::completed, 0ms}, {Kept::messages, 0ms}}, 60s).idle());
  RetentionPlan one = plan();
  EXPECT_EQ(one.current().what, Kept::completed);
  one.answered({}, 1ms);
  EXPECT_EQ(one.current().what, Kept::delivered);
}

TEST(RetentionPlan, AKindThatHasMoreIsAskedAgainAfterAPauseAsLongAsTheBatchTook) {
  RetentionPlan one = plan();
  EXPECT_EQ(one.answered({.count = 100, .more = true, .next_in = -1h}, 7ms), 7ms);
  EXPECT_FALSE(one.sweep_over());
  EXPECT_EQ(one.current().what, Kept::completed);
  EXPECT_EQ(one.answered({.count = 3, .more = false, .next_in = 20min}, 2ms), 2ms);
  EXPECT_EQ(one.current().what, Kept::delivered);
}

TEST(RetentionPlan, TheNextSweepIsWhenTheNextThingIsDueAndNoSoonerThanTheInterval) {
  RetentionPlan one = plan();
  one.answered({.next_in = 5min}, 1ms);
  EXPECT_EQ(one.answered({.next_in = 6min}, 1ms), 5min);
  EXPECT_TRUE(one.sweep_over());
  one.answered({.next_in = 3ms}, 1ms);
  EXPECT_EQ(one.answered({}, 1ms), 60s);
  one.answered({.next_in = -5s}, 1ms);  // overdue, and somebody has it locked
  EXPECT_EQ(one.answered({}, 1ms), 60s);
}

TEST(RetentionPlan, WhereNothingIsTheNextLookIsTheShortestTimeAway) {
  RetentionPlan one = plan();
  one.answered({}, 1ms);
  EXPECT_EQ(one.answered({}, 1ms), 10min) << "what ends from now on is due then";
  RetentionPlan year({{Kept::completed, 365 * 24h}}, 60s);
  EXPECT_EQ(year.answered({}, 1ms), RetentionPlan::kLongest);
}

TEST(RetentionPlan, AFailureBeginsTheSweepAnewAfterAnInterval) {
  RetentionPlan one = plan();
  one.answered({.next_in = 1min}, 1ms);
  EXPECT_EQ(one.failed(), 60s);
  EXPECT_TRUE(one.sweep_over());
  EXPECT_EQ(one.current().what, Kept::completed);
  one.answered({}, 1ms);
  EXPECT_EQ(one.answered({}, 1ms), 10min) << "what was known before is forgotten";
}

}  // namespace
}  // namespace romancy::timer
