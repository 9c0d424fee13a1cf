// Cancel: at every point of a workflow's life, and nothing of it comes back to life.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;

THEME(Cancel);

TEST_P(Cancel, OfACompletedInstanceIsRefusedByName) {
  const auto id = start("echo", 1);
  expect_completed(id, 1);
  EXPECT_THAT(refused("SELECT cancel_workflow($1)", pg::Params(id)), HasSubstr("55000 instance_id: "));
  expect_completed(id, 1);
}

TEST_P(Cancel, EndsASleep) {
  const auto id = start("hour", "never");
  expect_timer(id, "sleep");
  EXPECT_TRUE(cancel(id, "no time"));
  EXPECT_EQ(expect_cancelled(id).at("reason"), "no time");
  EXPECT_THAT(history(id), ElementsAre("started", "timer_started sleep", "cancel_requested", "cancelled"));
}

TEST_P(Cancel, EndsAWaitForAMessage) {
  const auto id = start("waits");
  expect_at_rest(id);
  cancel(id);
  expect_cancelled(id);
}

TEST_P(Cancel, EndsAWaitWithATimeOutAndItsTimer) {
  const auto id = start("waits_an_hour");
  expect_timer(id, "timeout");
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Cancel, ReachesAnActivityThatListens) {
  const auto id = start("held_step", mine("gate"));
  expect_times(id, "held", 1);
  cancel(id);
  expect_cancelled(id);  // nobody opened the gate
  EXPECT_THAT(effects(id), ElementsAre("held", "stopped"));
}

TEST_P(Cancel, LetsAnActivityThatDoesNotListenFinishAndRecordsItsResult) {
  const auto id = start("calls_deaf", mine("gate"));
  expect_times(id, "deaf", 1);
  cancel(id);
  expect_times(id, "asked", 1);
  open_gate(mine("gate"));
  expect_cancelled(id);
  EXPECT_THAT(effects(id), ElementsAre("deaf", "asked", "finished"));
  EXPECT_EQ(history_count(id, "activity_completed"), 1);
}

TEST_P(Cancel, AfterTheLastStepComesTooLateToStopIt) {
  const auto id = start("ends_deaf", mine("gate"));
  expect_times(id, "deaf", 1);
  cancel(id);
  expect_times(id, "asked", 1);
  open_gate(mine("gate"));
  expect_completed(id, mine("gate"));  // nothing was left where it could have been seen
}

TEST_P(Cancel, EndsALongPauseBetweenAttempts) {
  const auto id = start("pauses");
  expect_timer(id, "retry");
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(times(id, "tried"), 1);
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Cancel, InTheTransactionOfTheStartRunsNoCode) {
  sql("BEGIN");
  const auto id = start("one_step", "never");
  cancel(id);
  sql("COMMIT");
  expect_cancelled(id);
  EXPECT_TRUE(effects(id).empty());
}

TEST_P(Cancel, RolledBackWasNeverAsked) {
  const auto id = start("waits");
  expect_at_rest(id);
  sql("BEGIN");
  cancel(id);
  sql("ROLLBACK");
  publish(id, "mail", "still here");
  expect_completed(id, "still here");
}

TEST_P(Cancel, TwiceIsHarmlessAndTheFirstReasonCounts) {
  const auto id = start("waits");
  expect_at_rest(id);
  sql("BEGIN");
  cancel(id, "first");
  cancel(id, "second");
  sql("COMMIT");
  EXPECT_EQ(expect_cancelled(id).at("reason"), "first");
  EXPECT_EQ(history_count(id, "cancel_requested"), 1);
}

TEST_P(Cancel, NeedsNoReason) {
  const auto id = start("waits");
  sql("SELECT cancel_workflow($1)", pg::Params(id));
  expect_cancelled(id);
}

TEST_P(Cancel, AnUnknownInstanceIsRefusedByName) {
  EXPECT_THAT(refused("SELECT cancel_workflow($1)", pg::Params(mine("nobody"))), HasSubstr("22023 instance_id: "));
}

TEST_P(Cancel, ACancelledInstanceStaysCancelledAndSaysSo) {
  const auto id = start("waits");
  cancel(id, "first");
  expect_cancelled(id);
  EXPECT_FALSE(cancel(id, "again"));
  EXPECT_EQ(expect_cancelled(id).at("reason"), "first");
}

TEST_P(Cancel, AMessageDoesNotReviveACancelledInstance) {
  const auto id = start("waits");
  expect_at_rest(id);
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(publish(id, "mail", 1), 0);
  expect_nothing_left();
  EXPECT_EQ(status(id), "cancelled");
}

TEST_P(Cancel, ATimerDoesNotReviveACancelledInstance) {
  const auto id = start("nap", 60, "nap"), after = start("nap", 200, "after");
  cancel(id);
  expect_completed(after);  // the other one's moment has passed by then
  EXPECT_THAT(status(id), AnyOf("cancelled", "completed"));
  EXPECT_EQ(timers(id), 0);
  const auto events = history(id);
  EXPECT_THAT(events.back(), AnyOf("cancelled", "completed"));
}

TEST_P(Cancel, TheWorkflowSeesTheReasonAndMayDecideThatItWasDone) {
  const auto id = start("says_why");
  expect_at_rest(id);
  cancel(id, "rain");
  expect_completed(id, "rain (cancelled)");
}

TEST_P(Cancel, IsSeenAgainAtEveryLaterWait) {
  const auto id = start("sticky");
  expect_at_rest(id);
  cancel(id);
  expect_completed(id, 3);
  EXPECT_TRUE(effects(id).empty());
}

TEST_P(Cancel, IsNotSwallowedByACatchOfStdException) {
  const auto id = start("only_std");
  expect_at_rest(id);
  cancel(id);
  expect_cancelled(id);
}

TEST_P(Cancel, AShieldedPartTidiesUpAfterwards) {
  const auto id = start("tidies");
  expect_at_rest(id);
  cancel(id);
  expect_cancelled(id);
  EXPECT_THAT(effects(id), ElementsAre("tidy", "tidy more"));
}

TEST_P(Cancel, AShieldedPartIsFinishedFirst) {
  const auto id = start("shielded");
  expect_at_rest(id);
  cancel(id);
  expect_at_rest(id);
  EXPECT_EQ(status(id), "running") << "it waits inside the shield";
  publish(id, "confirmed", true);
  expect_cancelled(id);
  EXPECT_THAT(effects(id), ElementsAre("pay"));
}

TEST_P(Cancel, AShieldedPartAtTheEndCompletes) {
  const auto id = start("shielded_and_done");
  expect_at_rest(id);
  cancel(id);
  publish(id, "confirmed", "yes");
  expect_completed(id, "yes");
}

TEST_P(Cancel, AnErrorInTheCleanUpFailsTheWorkflow) {
  const auto id = start("throws_another");
  expect_at_rest(id);
  cancel(id);
  EXPECT_EQ(expect_failed(id).at("message"), "in the clean-up");
}

TEST_P(Cancel, AMessageAndACancelAtOnceGiveOneEnd) {
  for (int i = 0; i < 20; ++i) start("waits", nullptr, std::to_string(i));
  for (int i = 0; i < 20; ++i) expect_at_rest(mine(std::to_string(i)));
  const auto other = another();
  for (int i = 0; i < 20; ++i) {
    const auto id = mine(std::to_string(i));
    sql("BEGIN");
    publish(id, "mail", i);
    other->cancel(id);
    sql("COMMIT");
  }
  for (int i = 0; i < 20; ++i) {
    const auto id = mine(std::to_string(i));
    ASSERT_TRUE(eventually([&] { return status(id) == "completed" || status(id) == "cancelled"; })) << story(id);
    EXPECT_EQ(history(id).back(), status(id));
  }
}

TEST_P(Cancel, AtAnyMomentUndoesExactlyWhatWasDone) {
  for (int i = 0; i < 16; ++i) start("restless", 200, std::to_string(i));
  for (int i = 0; i < 16; ++i) {
    const auto id = mine(std::to_string(i));
    ASSERT_TRUE(eventually([&] { return times(id, "turn") >= i % 4; })) << story(id);
    cancel(id);
  }
  for (int i = 0; i < 16; ++i) {
    const auto id = mine(std::to_string(i));
    expect_cancelled(id);
    EXPECT_EQ(times(id, "turn"), times(id, "undo turn")) << story(id);
    EXPECT_EQ(history_count(id, "cancel_requested"), 1);
  }
}

TEST_P(Cancel, OneOfManyLeavesTheOthersAlone) {
  for (int i = 0; i < 10; ++i) start("mailbox", 1, std::to_string(i));
  for (int i = 0; i < 10; i += 2) cancel(mine(std::to_string(i)));
  for (int i = 1; i < 10; i += 2) publish(mine(std::to_string(i)), "mail", i);
  for (int i = 0; i < 10; ++i) expect_status(mine(std::to_string(i)), i % 2 ? "completed" : "cancelled");
}

TEST_P(Cancel, WorksFromTheCommandLine) {
  const auto id = start("waits");
  expect_at_rest(id);
  EXPECT_EQ(romancy({"cancel", id, "--reason", "operator"}).exit_code, 0);
  EXPECT_EQ(expect_cancelled(id).at("reason"), "operator");
}

}  // namespace
}  // namespace romancy::test
