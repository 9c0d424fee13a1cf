// Asynchronous activities: they wait without a thread, and are otherwise as all others.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;

THEME(Asynchronous);

TEST_P(Asynchronous, SleepAndCallEachOther) { expect_completed(start("dozes", 2), 6); }

TEST_P(Asynchronous, AreCompletedByAnotherThread) {
  const auto id = start("async_held", mine("gate"));
  expect_times(id, "held", 1);
  EXPECT_EQ(history_count(id, "activity_completed"), 0);
  open_gate(mine("gate"));
  expect_completed(id, mine("gate"));
  EXPECT_EQ(times(id, "held"), 1);
}

TEST_P(Asynchronous, MayBeToldBeforeTheyWait) { expect_completed(start("is_told", "at once"), "told"); }

TEST_P(Asynchronous, TheFirstWordCounts) { expect_completed(start("is_told", "twice"), "first"); }

TEST_P(Asynchronous, MayBeToldThatItFailed) {
  const auto id = start("is_told", "fail");
  expect_completed(id, "CardDeclined: no money at 1");
  EXPECT_EQ(times(id, "asked"), 1);
}

TEST_P(Asynchronous, FailWhenNobodyIsLeftToTellThem) {
  const auto id = start("is_told", "never");
  expect_completed(id, "NeverCompleted: nobody completed it at 2");
  EXPECT_EQ(times(id, "asked"), 2);
}

TEST_P(Asynchronous, WhatTheirBeginningThrowsIsTheirFailure) {
  expect_completed(start("is_told", "throw"), "std::runtime_error: could not begin at 2");
}

TEST_P(Asynchronous, AreTriedAgainAsAllOthers) {
  const auto id = start("async_retried", 2);
  expect_completed(id, 3);
  EXPECT_EQ(one("SELECT string_agg(attempt::text, ' ' ORDER BY id) FROM effects WHERE instance_id = $1", pg::Params(id)), "1 2 3");
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 1);
}

TEST_P(Asynchronous, OneThatTakesTooLongHasFailed) { expect_completed(start("async_in_haste"), "AttemptTimedOut at 2"); }

TEST_P(Asynchronous, WaitForDescriptors) { expect_completed(start("piped", "through a pipe"), "through a pipe"); }

// Far more than the worker has threads; each of them ends only when all the others wait, too.
TEST_P(Asynchronous, TwoHundredOfOneInstanceWaitAtOnce) { expect_completed(start("meets", 200), 200); }

TEST_P(Asynchronous, ThoseOfManyInstancesWaitAtOnce) {
  for (int i = 0; i < 40; ++i) start("async_held", mine("gate"), std::to_string(i));
  for (int i = 0; i < 40; ++i) expect_times(mine(std::to_string(i)), "held", 1);
  open_gate(mine("gate"));
  for (int i = 0; i < 40; ++i) expect_completed(mine(std::to_string(i)), mine("gate"));
}

TEST_P(Asynchronous, CancelReachesOneThatWaits) {
  const auto id = start("async_held", mine("gate"));
  expect_times(id, "held", 1);
  cancel(id, "enough");
  EXPECT_EQ(expect_cancelled(id).at("reason"), "enough");  // the gate is still closed
  expect_times(id, "stopped", 1);
  EXPECT_EQ(times(id, "opened"), 0);
}

TEST_P(Asynchronous, OneWhoseWorkflowDecidedOtherwiseIsStoppedAndNotRecorded) {
  const auto id = start("async_overtaken", mine("gate"));
  expect_times(id, "held", 1);
  publish(id, "stop", "stopped");
  expect_times(id, "stopped", 1);
  publish(id, "go on", 1);
  expect_completed(id, "stopped");
  EXPECT_EQ(history_count(id, "activity_completed"), 0);
}

}  // namespace
}  // namespace romancy::test
