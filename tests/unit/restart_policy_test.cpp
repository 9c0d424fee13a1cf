#include "supervisor/restart_policy.hpp"

#include <gtest/gtest.h>

#include <random>
#include <sstream>
#include <string>

namespace romancy::supervisor {
namespace {

using namespace std::chrono_literals;
using S = ChildState;
using V = ChildEvent;
using E = ChildEffect;

constexpr int kStates = static_cast<int>(S::count_);
constexpr int kEvents = static_cast<int>(V::count_);
constexpr char kStateLetters[] = "esrdxbh";   // exited starting ready draining restarting(x) backoff held
constexpr char kEffectLetters[] = ".+wdpkf";  // none spawn(+) wait drain finish(p) terminate(k) forget

// Written down a second time, as a picture: a change of the machine must be made twice, on purpose.
constexpr const char* kPicture[kStates] = {
    // start failed ready hung once crashed refused over stop restart drain
    "s+ e. e. e. e. e. e. e. e. s+ e.",  // exited
    "s. bw r. sk s+ bw h. s. dd xd dp",  // starting
    "r. r. r. rk s+ bw h. r. dd xd dp",  // ready
    "x. d. d. d. e. e. e. d. dd xd d.",  // draining
    "x. x. x. x. s+ s+ s+ x. dd xd d.",  // restarting
    "s+ b. b. b. b. b. b. s+ ef s+ ef",  // backoff
    "s+ h. h. h. h. h. h. h. e. s+ e.",  // held
};

TEST(RestartPolicy, EveryPairOfStateAndEventDoesWhatThePictureSays) {
  for (int state = 0; state < kStates; ++state) {
    std::istringstream cells(kPicture[state]);
    for (int event = 0; event < kEvents; ++event) {
      std::string wanted;
      ASSERT_TRUE(cells >> wanted);
      const Transition t = step(static_cast<S>(state), static_cast<V>(event));
      const std::string got{kStateLetters[static_cast<int>(t.to)], kEffectLetters[static_cast<int>(t.effect)]};
      EXPECT_EQ(got, wanted) << state_name(static_cast<S>(state)) << ", event " << event;
    }
  }
}

// A child in the hands of a chaotic operator, in a world where processes die whenever they like.
TEST(RestartPolicy, AnyWalkKeepsAtMostOneProcessAndObeysTheLastCommand) {
  std::mt19937_64 random(7);
  S state = S::exited;
  bool process = false, alarm = false, wanted = false;
  for (int n = 0; n < 200'000; ++n) {
    const auto event = static_cast<V>(random() % kEvents);
    const bool dies = event == V::crashed || event == V::crashed_once || event == V::refused;
    if ((dies || event == V::hung || event == V::ready) && !process) continue;
    if (event == V::spawn_failed) continue;  // follows a spawn only: below
    if (event == V::delay_over && !alarm) continue;
    if (event == V::start || event == V::restart) wanted = true;
    if (event == V::stop || event == V::drain) wanted = false;
    if (dies) process = false;
    if (event == V::delay_over) alarm = false;
    const auto act = [&](Transition t) {
      state = t.to;
      switch (t.effect) {
        case E::spawn:
          ASSERT_FALSE(process);
          alarm = false;
          process = true;
          break;
        case E::wait:
          ASSERT_FALSE(process);
          alarm = true;
          break;
        case E::drain:
        case E::finish:
        case E::terminate: ASSERT_TRUE(process); break;
        case E::forget: alarm = false; break;
        case E::none: break;
      }
    };
    const Transition first = step(state, event);
    act(first);
    if (first.effect == E::spawn && random() % 8 == 0) {
      process = false;
      act(step(state, V::spawn_failed));
    }
    const bool without = state == S::exited || state == S::backoff || state == S::held;
    ASSERT_EQ(process, !without) << state_name(state);
    ASSERT_EQ(alarm, state == S::backoff) << state_name(state);
    if (!wanted) {
      ASSERT_TRUE(state == S::exited || state == S::draining) << state_name(state);
    } else {
      ASSERT_TRUE(state != S::exited && state != S::draining) << state_name(state);
    }
  }
}

TEST(RestartPolicy, OperatorsSeeSixWords) {
  EXPECT_EQ(status_word(S::exited), "stopped");
  EXPECT_EQ(status_word(S::restarting), "draining");
  for (const S state : {S::starting, S::ready, S::draining, S::backoff, S::held}) {
    EXPECT_EQ(status_word(state), state_name(state));
  }
}

class TallyTest : public ::testing::Test {
 protected:
  Tally::Verdict dies_ready(std::chrono::seconds after) {  // ready at once, dead `after`
    const auto since = now_;
    now_ += after;
    return tally_.died(now_, since);
  }
  Tally::Verdict dies_early() {
    now_ += 1s;
    return tally_.died(now_, std::nullopt);
  }
  Tally::Time now_{1000s};
  Tally tally_{200ms, 30s, 42};
};

TEST_F(TallyTest, TheFirstDeathOfOneThatWorkedCostsNoWait) { EXPECT_TRUE(dies_ready(1s).at_once); }

TEST_F(TallyTest, TheFirstDeathOfOneThatNeverWorkedCostsAWait) {
  const auto verdict = dies_early();
  EXPECT_FALSE(verdict.at_once);
  EXPECT_GE(verdict.delay, 100ms);
  EXPECT_LE(verdict.delay, 200ms);
  EXPECT_FALSE(dies_ready(1s).at_once);  // and the first chance is used up
}

TEST_F(TallyTest, WaitsDoubleWithJitter) {
  EXPECT_TRUE(dies_ready(20s).at_once);
  for (auto longest = 200ms; longest < 2000ms; longest *= 2) {
    const auto verdict = dies_ready(20s);  // at most 4 in any minute
    EXPECT_FALSE(verdict.throttled);
    EXPECT_GE(verdict.delay, longest / 2);
    EXPECT_LE(verdict.delay, longest);
  }
}

TEST_F(TallyTest, TheFifthDeathInAMinuteIsThrottledAndSoIsEachThatFollows) {
  for (int n = 1; n <= 4; ++n) EXPECT_FALSE(dies_early().throttled);
  for (int n = 5; n <= 9; ++n) {
    const auto verdict = dies_early();
    EXPECT_TRUE(verdict.throttled);
    EXPECT_EQ(verdict.delay, 30s);
  }
}

TEST_F(TallyTest, AMinuteOfWorkForgives) {
  for (int n = 1; n <= 6; ++n) dies_early();
  EXPECT_FALSE(dies_ready(59s).at_once);
  EXPECT_TRUE(dies_ready(60s).at_once);
}

TEST_F(TallyTest, ADatabaseThatIsAwayIsNoDeathHoweverOftenOneEndsOverIt) {
  for (int n = 1; n <= 4; ++n) dies_early();
  for (int n = 1; n <= 20; ++n) {
    const auto verdict = tally_.away();
    EXPECT_FALSE(verdict.throttled);
    EXPECT_FALSE(verdict.at_once);
    EXPECT_GE(verdict.delay, 100ms);
    EXPECT_LE(verdict.delay, 30s);
  }
  EXPECT_TRUE(dies_early().throttled) << "the deaths before still count";
}

TEST_F(TallyTest, WhatCannotBeStartedWaitsFiveSecondsThenAMinuteEachTime) {
  EXPECT_EQ(tally_.not_started().delay, 5s);
  for (int n = 1; n <= 9; ++n) {
    const auto verdict = tally_.not_started();
    EXPECT_EQ(verdict.delay, 60s);
    EXPECT_FALSE(verdict.throttled);
  }
  tally_.started();
  EXPECT_EQ(tally_.not_started().delay, 5s);
  tally_.forgive();
  EXPECT_EQ(tally_.not_started().delay, 5s);
}

TEST_F(TallyTest, AnUpgradeForgetsNothing) {
  for (int n = 1; n <= 4; ++n) dies_early();
  Tally next(200ms, 30s, 43);
  next.take_over(tally_.record());
  now_ += 1s;
  EXPECT_TRUE(next.died(now_, std::nullopt).throttled);
}

TEST_F(TallyTest, AReloadChangesTheWaitsAndKeepsTheRecord) {
  for (int n = 1; n <= 4; ++n) dies_early();
  tally_.waits(1ms, 7s);
  EXPECT_EQ(dies_early().delay, 7s);
}

TEST_F(TallyTest, AnOperatorForgives) {
  for (int n = 1; n <= 6; ++n) dies_early();
  tally_.forgive();
  EXPECT_LE(dies_early().delay, 200ms);
}

}  // namespace
}  // namespace romancy::supervisor
