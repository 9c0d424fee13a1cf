// Saga: what was done is undone, newest first, once, whatever ended the workflow.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

THEME(Saga);

TEST_P(Saga, AFailureUndoesWhatWasDoneNewestFirst) {
  const auto id = start("trip", {{"steps", 3}, {"then", "throw"}});
  const Json error = expect_failed(id);
  EXPECT_THAT(effects(id), ElementsAre("step 1", "step 2", "step 3", "undo step 3", "undo step 2", "undo step 1"));
  EXPECT_EQ(error.at("message"), "no seats left");
  EXPECT_THAT(error.at("type").get<std::string>(), HasSubstr("NoSeats"));
}

TEST_P(Saga, SuccessUndoesNothing) {
  const auto id = start("trip", {{"steps", 3}, {"then", ""}});
  expect_completed(id, "done");
  EXPECT_THAT(effects(id), ElementsAre("step 1", "step 2", "step 3"));
}

TEST_P(Saga, AFailureBeforeTheFirstStepUndoesNothing) {
  const auto id = start("trip", {{"steps", 0}, {"then", "throw"}});
  expect_failed(id);
  EXPECT_TRUE(effects(id).empty());
}

TEST_P(Saga, CancelUndoesWhatWasDone) {
  const auto id = start("trip", {{"steps", 2}, {"then", "wait"}});
  expect_at_rest(id);
  cancel(id, "changed my mind");
  EXPECT_EQ(expect_cancelled(id).at("reason"), "changed my mind");
  EXPECT_THAT(effects(id), ElementsAre("step 1", "step 2", "undo step 2", "undo step 1"));
}

TEST_P(Saga, FiftyStepsAreUndoneInReverse) {
  const auto id = start("trip", {{"steps", 50}, {"then", "throw"}});
  expect_failed(id);
  const auto all = effects(id);
  ASSERT_EQ(all.size(), 100u);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(all[99 - i], "undo " + all[i]);
}

TEST_P(Saga, EachUndoHasAKeyOfItsOwn) {
  const auto id = start("trip", {{"steps", 4}, {"then", "throw"}});
  expect_failed(id);
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 8);
}

TEST_P(Saga, AnUndoGetsTheStructItWasRegisteredWith) {
  const auto id = start("undoes_a_struct", {{"hotel", "Ritz"}, {"cents", 9007199254740993}, {"guests", {"Ada"}}});
  expect_failed(id);
  EXPECT_THAT(effects(id), ElementsAre("cancel Ritz 9007199254740993 Ada"));
}

TEST_P(Saga, AnUndoIsTriedAgainByItsOwnPolicy) {
  const auto id = start("undoes_stubbornly", 4);
  expect_failed(id);
  EXPECT_EQ(times(id, "undo it"), 5);
}

TEST_P(Saga, AnUndoThatWaitsForItsNextAttemptWaitsInTheDatabase) {
  const auto id = start("undoes_later");
  expect_timer(id, "retry");
  EXPECT_EQ(status(id), "compensating");
  expect_failed(id);
  EXPECT_THAT(effects(id), ElementsAre("undo later", "undo later", "undo first"));
}

TEST_P(Saga, AnUndoMayNeedNoInput) {
  const auto id = start("undoes_all");
  expect_failed(id);
  EXPECT_THAT(effects(id), ElementsAre("undo all"));
}

TEST_P(Saga, TheStatusSaysThatItCompensatesWhileItDoes) {
  const auto id = start("undoes_slowly", mine("gate"));
  expect_at_rest(id);
  publish(id, "go on", 1);
  expect_times(id, "undoing", 1);
  expect_status(id, "compensating");
  open_gate(mine("gate"));
  EXPECT_EQ(expect_failed(id).at("message"), "full");
}

TEST_P(Saga, CancelDuringCompensationChangesNothing) {
  const auto id = start("undoes_slowly", mine("gate"));
  expect_at_rest(id);
  publish(id, "go on", 1);
  expect_times(id, "undoing", 1);
  expect_status(id, "compensating");
  cancel(id, "too late");
  open_gate(mine("gate"));
  EXPECT_EQ(expect_failed(id).at("message"), "full");
  EXPECT_EQ(times(id, "undoing"), 1);
}

TEST_P(Saga, ASecondCancelDuringTheCompensationOfTheFirstChangesNothing) {
  const auto id = start("undoes_slowly", mine("gate"));
  expect_at_rest(id);
  cancel(id, "first");
  expect_times(id, "undoing", 1);
  cancel(id, "second");
  open_gate(mine("gate"));
  EXPECT_EQ(expect_cancelled(id).at("reason"), "first");
  EXPECT_EQ(times(id, "undoing"), 1);
}

TEST_P(Saga, MessagesThatComeDuringCompensationReviveNothing) {
  const auto id = start("undoes_slowly", mine("gate"));
  expect_at_rest(id);
  cancel(id);
  expect_times(id, "undoing", 1);
  publish(id, "go on", 1);
  open_gate(mine("gate"));
  expect_cancelled(id);
  EXPECT_EQ(history_count(id, "message_received"), 0);
}

TEST_P(Saga, AnUndoRegisteredBeforeItsStepRunsThoughTheStepFailed) {
  const auto id = start("registers_first");
  expect_failed(id);
  EXPECT_THAT(effects(id), ElementsAre("step", "step", "step", "step", "undo step"));
}

TEST_P(Saga, AFailureThatIsCaughtUndoesNothing) {
  const auto id = start("caught_and_fine");
  expect_completed(id, "fine without");
  EXPECT_EQ(times(id, "undo step"), 0);
}

TEST_P(Saga, StepsOfInnerCoroutinesAreUndoneToo) {
  const auto id = start("nested");
  EXPECT_EQ(expect_failed(id).at("message"), "inner");
  EXPECT_THAT(effects(id), ElementsAre("outer", "inner", "undo inner", "undo outer"));
}

TEST_P(Saga, ManySagasFailSideBySideAndEachUndoesItsOwn) {
  for (int i = 0; i < 20; ++i) start("trip", {{"steps", 3}, {"then", i % 2 ? "throw" : ""}}, std::to_string(i));
  for (int i = 0; i < 20; ++i) {
    const auto id = mine(std::to_string(i));
    expect_status(id, i % 2 ? "failed" : "completed");
    EXPECT_EQ(effects(id).size(), i % 2 ? 6u : 3u);
  }
}

}  // namespace
}  // namespace romancy::test
