// Concurrent: several things at once in one workflow, and nothing is left of what was given up.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::Contains;
using testing::UnorderedElementsAre;

THEME(AtOnce);

TEST_P(AtOnce, AnActivityAMessageAndATimerAreAwaitedTogether) {
  const auto id = start("three_at_once", mine("gate"));
  expect_times(id, "held", 1);
  publish(id, "mail", "hello");
  open_gate(mine("gate"));
  expect_completed(id, mine("gate") + " hello");
  EXPECT_EQ(times(id, "held"), 1);
}

TEST_P(AtOnce, AHundredActivitiesAreCollectedInTheirOrder) {
  const auto id = start("fan_out", 100);
  expect_completed(id, 328350);
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 100);
  EXPECT_EQ(effects(id).size(), 100u);
}

TEST_P(AtOnce, AHundredActivitiesAreCollectedAsTheyCome) {
  const auto id = start("as_they_come", 100);
  expect_completed(id, 328350);
  EXPECT_EQ(effects(id).size(), 100u);
}

TEST_P(AtOnce, ActivitiesOfOneInstanceRunSideBySide) {
  Json gates = Json::array();
  for (int i = 0; i < 4; ++i) gates.push_back(mine("gate" + std::to_string(i)));
  const auto id = start("fan_out_held", gates);
  expect_times(id, "held", 4);  // all of them wait at once
  for (int i = 3; i >= 0; --i) open_gate(mine("gate" + std::to_string(i)));
  expect_completed(id, 4);
}

TEST_P(AtOnce, AMessageInTimeWinsAndTheTimerIsGone) {
  const auto id = start("race", 3'600'000);
  expect_timer(id, "sleep");
  publish(id, "mail", "in time");
  expect_completed(id, "in time");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(AtOnce, ATimerThatIsFirstWins) { expect_completed(start("race", 10), "late"); }

TEST_P(AtOnce, AMessageAndATimerAtTheSameMomentGiveOneWinner) {
  for (int i = 0; i < 15; ++i) start("race", 15, std::to_string(i));
  for (int i = 0; i < 15; ++i) publish(mine(std::to_string(i)), "mail", "in time");
  for (int i = 0; i < 15; ++i) {
    const auto id = mine(std::to_string(i));
    expect_status(id, "completed");
    EXPECT_EQ(history_count(id, "message_received"), output(id) == "in time" ? 1 : 0);
  }
}

TEST_P(AtOnce, AMessageForTheWaitThatLostStaysForTheNextReceive) {
  const auto id = start("race_then_receive");
  expect_at_rest(id);
  sql("BEGIN");
  publish(id, "b", "second channel");
  publish(id, "a", "first channel");
  sql("COMMIT");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::vector<std::string>>(), UnorderedElementsAre("second channel", "first channel"));
}

TEST_P(AtOnce, TheFirstErrorEndsTheOthersAndLeavesNothingOfThem) {
  const auto id = start("one_fails");
  expect_completed(id, "Refused");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(AtOnce, ATimerThatWasStartedCanBeCancelledTwice) {
  const auto id = start("cancellable_timer");
  expect_timer(id, "sleep");
  publish(id, "mail", "enough");
  expect_completed(id, "enough, not needed");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(AtOnce, ATimerThatIsCancelledBeforeItsCommitWasNeverThere) {
  const auto id = start("dropped_timer");
  expect_completed(id, "dropped");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(AtOnce, PartsRunSideBySide) {
  const auto id = start("parts_at_once", false);
  expect_completed(id, "Ritz booked, Savoy booked");
  EXPECT_THAT(effects(id), UnorderedElementsAre("Ritz", "Savoy", "Ritz booked", "Savoy booked"));
}

TEST_P(AtOnce, WhatPartsDidIsUndone) {
  const auto id = start("parts_at_once", true);
  EXPECT_EQ(expect_failed(id).at("message"), "no money");
  EXPECT_EQ(times(id, "undo Ritz"), 1);
  EXPECT_EQ(times(id, "undo Savoy"), 1);
}

TEST_P(AtOnce, AScopeIsCancelledWithoutItsWorkflow) {
  const auto id = start("scoped", mine("gate"));
  expect_times(id, "held", 1);
  publish(id, "stop", 1);
  expect_times(id, "stopped", 1);  // the activity in the scope hears it
  expect_completed(id, "found elsewhere");
  EXPECT_EQ(times(id, "after"), 1);
}

TEST_P(AtOnce, AWorkflowListensWhileItsActivityRuns) {
  const auto id = start("listens_while_working", mine("gate"));
  expect_times(id, "held", 1);
  for (const char* command : {"a", "b", "c"}) publish(id, "command", command);
  ASSERT_TRUE(eventually([&] { return history_count(id, "message_received") == 3; })) << story(id);
  open_gate(mine("gate"));
  expect_completed(id, {"a", "b", "c"});
  EXPECT_EQ(times(id, "held"), 1);
}

TEST_P(AtOnce, CancelReachesAllOfIt) {
  const auto id = start("three_at_once", mine("gate"));
  expect_times(id, "held", 1);
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(times(id, "stopped"), 1);
  EXPECT_EQ(timers(id), 0);
}

}  // namespace
}  // namespace romancy::test
