// Generations: a workflow that begins anew; side effects; limits; compensations that fail for good; how long to try.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

THEME(Recur);

TEST_P(Recur, EachGenerationBeginsWithItsInputUnderTheSameId) {
  const auto id = start("loops", {{"left", 4}, {"sum", 0}});
  expect_completed(id, 10);
  EXPECT_THAT(effects(id), ElementsAre("round 4", "round 3", "round 2", "round 1", "round 0"));
  EXPECT_EQ(count("SELECT generation FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), 4);
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 5);
}

TEST_P(Recur, TheHistoryIsTheLastGenerationsAndTheOthersAreInTheArchive) {
  const auto id = start("loops", {{"left", 2}, {"sum", 0}});
  expect_completed(id, 3);
  EXPECT_EQ(history_count(id, "activity_completed"), 1);
  EXPECT_EQ(one("SELECT string_agg(generation || ':' || kind, ' ' ORDER BY generation, seq) FROM workflow_history_archive "
                "WHERE instance_id = $1 AND kind IN ('started', 'recurred')", pg::Params(id)),
            "0:started 0:recurred 1:started 1:recurred");
}

TEST_P(Recur, UnreadMessagesGoOnToTheNextGeneration) {
  const auto id = start("mail_loop", Json::array());
  for (int i = 0; i < 12; ++i) publish(id, "mail", i);
  publish(id, "mail", "end");
  expect_completed(id, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "end"});
}

TEST_P(Recur, MessagesDuringTheChangeAreNotLost) {
  for (int i = 0; i < 6; ++i) start("mail_loop", Json::array(), std::to_string(i));
  for (int n = 0; n < 10; ++n) {
    for (int i = 0; i < 6; ++i) publish(mine(std::to_string(i)), "mail", n);
  }
  for (int i = 0; i < 6; ++i) publish(mine(std::to_string(i)), "mail", "end");
  for (int i = 0; i < 6; ++i) expect_completed(mine(std::to_string(i)), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "end"});
}

TEST_P(Recur, SubscriptionsStay) {
  const auto id = start("subscribed_loop", {{"left", 2}, {"sum", 0}});
  expect_at_rest(id);
  for (const int n : {1, 10, 100}) broadcast("news-" + id, n);
  expect_completed(id, {111, 2});
}

TEST_P(Recur, ACancelBetweenGenerationsReachesTheNext) {
  const auto id = start("mail_loop", Json::array());
  publish(id, "mail", 1);
  cancel(id, "stop");
  EXPECT_EQ(expect_cancelled(id).at("reason"), "stop");
}

TEST_P(Recur, WithCompensationsIsRefusedAndUndoesThem) {
  const auto id = start("recur_with_saga", false);
  EXPECT_THAT(expect_failed(id).at("message").get<std::string>(), HasSubstr("recur"));
  EXPECT_THAT(effects(id), ElementsAre("step", "undo step"));
}

TEST_P(Recur, ForgottenCompensationsAreNotRun) {
  const auto id = start("recur_with_saga", true);
  expect_completed(id, "second");
  EXPECT_THAT(effects(id), ElementsAre("step"));
}

THEME(SideEffects);

TEST_P(SideEffects, AreRecordedOnceAndToldAgainByEveryReplay) {
  expect_completed(start("asks_the_world"), true);
}

// -------------------------------------------------------------------------------------------------------------- limits

THEME(Limits);

TEST_P(Limits, AWorkflowWhoseTimeIsOverIsUndoneAndFails) {
  const auto id = start("limited");
  EXPECT_EQ(expect_failed(id).at("type"), "WorkflowTimedOut");
  EXPECT_THAT(effects(id), ElementsAre("step", "undo step"));
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Limits, OneThatEndsInTimeLeavesNoTimer) {
  const auto id = start("in_time");
  expect_completed(id, "in time");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Limits, AHistoryWithoutEndFailsTheWorkflow) {
  const auto id = start("endless");
  EXPECT_EQ(expect_failed(id).at("type"), "HistoryTooLong");
}

TEST_P(Limits, AHistoryWithoutEndIsUndone) {
  const auto id = start("endless_saga");
  EXPECT_EQ(expect_failed(id).at("type"), "HistoryTooLong");
  EXPECT_GE(times(id, "turn"), 10);
  EXPECT_EQ(times(id, "undo turn"), times(id, "turn"));
}

TEST_P(Limits, ATimeThatIsOverDuringTheCompensationChangesNothing) {
  const auto id = start("limited_undo", mine("gate"));
  expect_times(id, "undoing", 1);
  ASSERT_TRUE(eventually([&] { return timers(id) == 0; })) << story(id);
  EXPECT_EQ(status(id), "compensating");
  open_gate(mine("gate"));
  EXPECT_EQ(expect_failed(id).at("message"), "full");
  EXPECT_EQ(times(id, "undone"), 1);
}

TEST_P(Limits, ACancelAfterTheTimeWasOverChangesNothing) {
  const auto id = start("limited_step", mine("gate"));
  expect_times(id, "begun", 1);
  expect_times(id, "asked", 1);  // the workflow knows
  cancel(id, "too late");
  open_gate(mine("gate"));
  EXPECT_EQ(expect_failed(id).at("type"), "WorkflowTimedOut");
  EXPECT_THAT(effects(id), ElementsAre("step", "begun", "asked", "done", "undo step"));
}

// Which of them is first is not ours to say; it is in history, and decides.
TEST_P(Limits, OfACancelAndATimeThatIsOverTheFirstDecides) {
  const auto id = start("limited_step", mine("gate"));
  cancel(id, "enough");
  ASSERT_TRUE(eventually([&] { return timers(id) == 0 && (times(id, "asked") == 1 || status(id) != "running"); })) << story(id);
  open_gate(mine("gate"));
  ASSERT_TRUE(eventually([&] { return status(id) == "cancelled" || status(id) == "failed"; })) << story(id);
  EXPECT_EQ(status(id), history_data(id, "cancel_requested").contains("type") ? "failed" : "cancelled");
  EXPECT_EQ(history_count(id, "cancel_requested"), 1);
  EXPECT_EQ(times(id, "undo step"), times(id, "step"));
  EXPECT_EQ(times(id, "after"), 0);
}

// ----------------------------------------------------------------------------------------- compensations that fail for good

THEME(FailedUndo);

TEST_P(FailedUndo, KeepsTheInstanceCompensatingUntilSomebodyDecides) {
  const auto id = start("hard_to_undo", mine("gate"));
  ASSERT_TRUE(eventually([&] { return note(id).find("compensation") != std::string::npos; })) << story(id);
  EXPECT_EQ(status(id), "compensating");
  EXPECT_THAT(note(id), HasSubstr("the bank is closed"));
  open_gate(mine("gate"));
  sql("SELECT retry_compensations($1)", pg::Params(id));
  EXPECT_EQ(expect_failed(id).at("message"), "full");
  EXPECT_EQ(times(id, "undone"), 1);
  EXPECT_EQ(times(id, "undo first"), 1);
}

TEST_P(FailedUndo, MayFailAgain) {
  const auto id = start("hard_to_undo", mine("gate"));
  ASSERT_TRUE(eventually([&] { return note(id).find("compensation") != std::string::npos; })) << story(id);
  sql("SELECT retry_compensations($1)", pg::Params(id));
  expect_times(id, "try to undo", 2);
  ASSERT_TRUE(eventually([&] { return note(id).find("compensation") != std::string::npos; })) << story(id);
  EXPECT_EQ(status(id), "compensating");
  open_gate(mine("gate"));
  sql("SELECT retry_compensations($1)", pg::Params(id));
  expect_failed(id);
  EXPECT_EQ(times(id, "undone"), 1);
}

TEST_P(FailedUndo, MayBeGivenUp) {
  const auto id = start("hard_to_undo", mine("gate"));
  ASSERT_TRUE(eventually([&] { return note(id).find("compensation") != std::string::npos; })) << story(id);
  EXPECT_EQ(romancy({"compensate", id, "--give-up"}).exit_code, 0);
  const Json error = expect_failed(id);
  EXPECT_EQ(error.at("compensations_failed").size(), 1u);
  EXPECT_EQ(times(id, "undone"), 0);
  EXPECT_EQ(times(id, "undo first"), 1) << "the others ran all the same";
}

TEST_P(FailedUndo, OfAnyOtherInstanceIsRefused) {
  const auto id = start("echo", 1);
  expect_completed(id, 1);
  EXPECT_THAT(refused("SELECT retry_compensations($1)", pg::Params(id)), HasSubstr("55000"));
  EXPECT_THAT(refused("SELECT give_up_compensations($1)", pg::Params(id)), HasSubstr("55000"));
}

// --------------------------------------------------------------------------------------------------------- how long to try

THEME(Trying);

TEST_P(Trying, KindsThatCannotBeHelpedAreNotTriedAgain) {
  const auto id = start("kinds", true), other = start("kinds", false, "other");
  expect_completed(id, 1);
  EXPECT_EQ(times(id, "try"), 1);
  expect_completed(other, 3);
  EXPECT_EQ(times(other, "try"), 3);
}

TEST_P(Trying, NoAttemptBeginsAfterTheTimeForAllOfThem) {
  const auto id = start("gives_up_in_time");
  expect_completed(id, "busy");
  EXPECT_GE(times(id, "try"), 1);
  EXPECT_LE(times(id, "try"), 6);
}

TEST_P(Trying, APauseThatWouldEndTooLateIsNotWaitedFor) {
  const auto id = start("given_no_time");
  expect_completed(id, 1);
  EXPECT_EQ(times(id, "try"), 1);
}

TEST_P(Trying, LongPausesDoNotBeginTheTimeForAllAttemptsAnew) {
  const auto id = start("given_seconds");
  expect_timer(id, "retry");
  expect_status(id, "completed");
  EXPECT_EQ(output(id), times(id, "try"));
  EXPECT_LE(times(id, "try"), 2);
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Trying, ATimeOutMayBeWhatCannotBeHelped) {
  const auto id = start("given_no_second_chance");
  expect_completed(id, 1);
  EXPECT_EQ(times(id, "try"), 1);
}

TEST_P(Trying, WhatComesAfterItsTimeOutIsDropped) {
  const auto id = start("does_not_wait", mine("gate"));
  expect_at_rest(id);  // with the result of the second attempt
  open_gate(mine("gate"));
  expect_times(id, "late", 1);
  publish(id, "go on", 1);
  expect_completed(id, "second");
  EXPECT_EQ(history_count(id, "activity_completed"), 1);
}

TEST_P(Trying, AnAttemptThatTakesTooLongHasFailed) {
  const auto id = start("times_out", mine("gate"));
  expect_completed(id, "AttemptTimedOut at 2");
  EXPECT_EQ(times(id, "try"), 2);
}

}  // namespace
}  // namespace romancy::test
