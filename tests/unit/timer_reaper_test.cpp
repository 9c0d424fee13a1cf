#include <gtest/gtest.h>

#include "timer/reaper.hpp"

namespace romancy::timer {
namespace {

using namespace std::chrono_literals;
using Sweep = Reaper::Sweep;

constexpr auto kTimeout = 10s;
const Reaper::Time kNow = Reaper::Time() + 1h;

TEST(Reaper, BeforeTheDatabaseIsThereNothingIsEnded) {
  Reaper reaper(kTimeout);
  EXPECT_EQ(reaper.sweep(kNow, false), Sweep::nothing);
}

TEST(Reaper, AfterTheFirstConnectOnlyLocksDecide) {
  Reaper reaper(kTimeout);
  reaper.connected(kNow, false);
  EXPECT_EQ(reaper.sweep(kNow, false), Sweep::list);
  EXPECT_EQ(reaper.sweep(kNow + kTimeout - 1ms, false), Sweep::list);
  EXPECT_EQ(reaper.sweep(kNow + kTimeout, false), Sweep::expired_and_free);
}

// After an outage every living worker looks dead until it has come back.
TEST(Reaper, AfterAReconnectNothingIsEndedForOneTimeOut) {
  Reaper reaper(kTimeout);
  reaper.connected(kNow, false);
  reaper.connected(kNow + 1h, true);
  EXPECT_EQ(reaper.sweep(kNow + 1h, false), Sweep::nothing);
  EXPECT_EQ(reaper.sweep(kNow + 1h + kTimeout - 1ms, false), Sweep::nothing);
  EXPECT_EQ(reaper.sweep(kNow + 1h + kTimeout, false), Sweep::expired_and_free);
}

TEST(Reaper, WhileAHubTellsLocksAreTriedOnceAfterEachGap) {
  Reaper reaper(kTimeout);
  reaper.connected(kNow, false);
  EXPECT_EQ(reaper.sweep(kNow, true), Sweep::list) << "deaths before we came were told to nobody";
  EXPECT_EQ(reaper.sweep(kNow, true), Sweep::nothing);
  reaper.gap();
  EXPECT_EQ(reaper.sweep(kNow + 1s, true), Sweep::list);
  EXPECT_EQ(reaper.sweep(kNow + kTimeout, true), Sweep::expired);
  reaper.gap();
  EXPECT_EQ(reaper.sweep(kNow + kTimeout, true), Sweep::expired_and_free);
  EXPECT_EQ(reaper.sweep(kNow + kTimeout, true), Sweep::expired);
}

TEST(Reaper, TheGoneAreTriedUntilTheServerHasNoticed) {
  Reaper reaper(kTimeout);
  reaper.gone(kNow, 7);
  ASSERT_EQ(reaper.due(kNow), std::vector<std::int64_t>{7});
  EXPECT_TRUE(reaper.due(kNow).empty()) << "one question at a time";
  EXPECT_FALSE(reaper.next_trial());
  reaper.tried(kNow, 7, false);
  EXPECT_EQ(reaper.next_trial(), kNow + Reaper::kFirstRetry);
  ASSERT_EQ(reaper.due(kNow + 5ms), std::vector<std::int64_t>{7});
  reaper.tried(kNow + 5ms, 7, false);
  EXPECT_EQ(reaper.next_trial(), kNow + 15ms);
  ASSERT_EQ(reaper.due(kNow + 15ms), std::vector<std::int64_t>{7});
  reaper.tried(kNow + 15ms, 7, true);
  EXPECT_FALSE(reaper.next_trial());
}

TEST(Reaper, TheGoneAreGivenUpAfterATimeOut) {
  Reaper reaper(kTimeout);
  reaper.gone(kNow, 7);
  Reaper::Time now = kNow;
  int trials = 0;
  while (const auto next = reaper.next_trial()) {
    now = *next;
    ASSERT_EQ(reaper.due(now).size(), 1u);
    reaper.tried(now, 7, false);
    ++trials;
  }
  EXPECT_GE(now, kNow + kTimeout);
  EXPECT_LT(trials, 40) << "with back-off";
}

TEST(Reaper, ASuspectIsTriedOnce) {
  Reaper reaper(kTimeout);
  reaper.suspect(kNow, 7);
  ASSERT_EQ(reaper.due(kNow).size(), 1u);
  reaper.tried(kNow, 7, false);
  EXPECT_FALSE(reaper.next_trial());
}

TEST(Reaper, ASuspectThatIsAlsoGoneKeepsItsTrials) {
  Reaper reaper(kTimeout);
  reaper.gone(kNow, 7);
  reaper.suspect(kNow, 7);
  ASSERT_EQ(reaper.due(kNow).size(), 1u);
  reaper.tried(kNow, 7, false);
  EXPECT_TRUE(reaper.next_trial());
}

TEST(Reaper, DeathsOfBeforeAnOutageAreForgotten) {
  Reaper reaper(kTimeout);
  reaper.gone(kNow, 7);
  reaper.connected(kNow + 1s, true);
  EXPECT_TRUE(reaper.due(kNow + 1h).empty());
  reaper.tried(kNow + 1s, 7, false);  // a late answer harms nothing
}

TEST(Reaper, TheListIsBoundedAndTheSweepFindsTheRest) {
  Reaper reaper(kTimeout);
  reaper.connected(kNow, false);
  EXPECT_EQ(reaper.sweep(kNow, true), Sweep::list);
  for (std::int64_t i = 1; i <= 3000; ++i) reaper.gone(kNow, i);
  EXPECT_EQ(reaper.due(kNow).size(), Reaper::kMostTrials);
  EXPECT_EQ(reaper.sweep(kNow, true), Sweep::list);
}

TEST(Reaper, TheSweepComesBackWhenASessionCouldExpireAndNotBefore) {
  Reaper reaper(10s);
  EXPECT_EQ(reaper.look_again(kNow, std::nullopt), std::nullopt);  // the database is not there
  reaper.connected(kNow, true);
  EXPECT_EQ(reaper.look_again(kNow + 1s, 3s), 9s);  // too early to end anything: when it no longer is
  EXPECT_EQ(reaper.look_again(kNow + 10s, 7s), 7s + 1ms);
  EXPECT_EQ(reaper.look_again(kNow + 10s, std::nullopt), std::nullopt);  // no session: the interval is enough
  EXPECT_EQ(reaper.look_again(kNow + 10s, -1us), 1s);                    // expired, and its row is held: not at once
  EXPECT_LT(reaper.sweep_every() * 6 / 5, 10s);
  Reaper first(10s);
  first.connected(kNow, false);
  EXPECT_EQ(first.look_again(kNow, 3s), 10s);
}

}  // namespace
}  // namespace romancy::timer
