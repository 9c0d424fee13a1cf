// Children: workflows that start others, what they are told, and what becomes of them.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

THEME(Child);

TEST_P(Child, GivesItsParentItsOutput) {
  const auto id = start("square_of", 7);
  expect_completed(id, 49);
  EXPECT_EQ(one("SELECT string_agg(kind, ' ' ORDER BY seq) FROM workflow_history WHERE instance_id = $1", pg::Params(id)),
            "started child_started child_completed completed");
  EXPECT_EQ(output(id + "/1"), 49);
  EXPECT_EQ(times(id + "/1", "square 7"), 1);
}

TEST_P(Child, MayHaveChildren) { expect_completed(start("grandparent", 5), 26); }

TEST_P(Child, AThousandAtOnceAreAllCollected) {
  const auto id = start("fan", 1000);
  expect_completed(id, 333'833'500);
  EXPECT_EQ(count("SELECT count(*) FROM workflow_instances WHERE instance_id LIKE $1 || '/%' AND status = 'completed'", pg::Params(id)), 1000);
  EXPECT_EQ(count("SELECT count(*) FROM effects WHERE instance_id LIKE $1 || '/%'", pg::Params(id)), 1000);
}

TEST_P(Child, ThatFailsIsAnErrorOfItsParentWithTypeAndMessage) {
  const auto id = start("parent_of_broken", "no lorry");
  expect_completed(id, "breaks Broken: no lorry");
  EXPECT_EQ(expect_failed(id + "/1").at("type"), "Broken");
}

TEST_P(Child, IsCancelledWithItsParentAndUndoesWhatItDid) {
  const auto id = start("guardian", true);
  expect_times(id + "-child", "care", 1);
  EXPECT_EQ(one("SELECT parent_id FROM workflow_children WHERE instance_id = $1", pg::Params(id + "-child")), id);
  cancel(id, "enough");
  EXPECT_EQ(expect_cancelled(id).at("reason"), "enough");
  expect_cancelled(id + "-child");
  EXPECT_THAT(effects(id + "-child"), ElementsAre("care", "undo care"));
}

TEST_P(Child, ThatDoesNotFollowOutlivesItsParent) {
  const auto id = start("guardian", false);
  expect_times(id + "-child", "care", 1);
  cancel(id);
  expect_cancelled(id);
  expect_at_rest(id + "-child");
  EXPECT_EQ(count("SELECT count(*) FROM workflow_children WHERE parent_id = $1", pg::Params(id)), 0);
  publish(id + "-child", "answer", "free");
  expect_completed(id + "-child", "free");
}

TEST_P(Child, GetsMessagesFromItsParent) { expect_completed(start("talker"), "hello /1"); }

TEST_P(Child, ThatIsForgottenGoesOn) {
  for (const bool child : {true, false}) {
    const auto id = start("forgetful", child, child ? "a" : "b");
    expect_status(id, "completed");
    const std::string other = output(id);
    expect_times(other, "alone", 1);
    publish(other, "answer", "done");
    expect_completed(other, "done");
  }
}

TEST_P(Child, WhoseIdIsTakenIsRefusedAlsoWhenThatOneHasFinished) {
  const auto taken = start("ward", "first", "taken");
  expect_completed(start("namesake", taken), "ChildRefused " + taken);
  publish(taken, "answer", "x");
  expect_completed(taken, "x");
  expect_completed(start("namesake", taken, "b"), "ChildRefused " + taken);
  EXPECT_EQ(effects(taken).size(), 1u);
}

TEST_P(Child, ThatLosesARaceIsCancelled) {
  const auto id = start("racing_parent", 1);
  expect_completed(id, "too slow");
  expect_cancelled(id + "-child");
}

TEST_P(Child, ThatWinsARaceIsHeard) {
  const auto id = start("racing_parent", 3'600'000);
  expect_times(id + "-child", "slow", 1);
  publish(id + "-child", "answer", "fast");
  expect_completed(id, "fast");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Child, MayBeCancelledByItsParentWhichIsTold) {
  const auto id = start("canceller");
  expect_times(id + "/1", "regret", 1);
  publish(id, "regret", 1);
  expect_completed(id, "WorkflowCancelled: changed its mind");
  EXPECT_THAT(effects(id + "/1"), ElementsAre("regret", "undo regret"));
}

TEST_P(Child, OfAFormerGenerationFollowsUntilTheLastEnds) {
  const auto id = start("dynasty", 2);
  for (const char* heir : {"-2", "-1"}) expect_times(id + heir, std::string("heir ") + (heir + 1), 1);
  expect_at_rest(id);
  publish(id, "end", 1);
  expect_completed(id, 9);
  expect_cancelled(id + "-1");
  expect_cancelled(id + "-2");
}

TEST_P(Child, MayBeOfAWorkflowThatThisProgramOnlyKnowsByName) { expect_completed(start("emigrant", 4), 16); }

TEST_P(Child, WhoseWorkerIsCancelledFromOutsideTellsItsParent) {
  const auto id = start("guardian", true);
  expect_times(id + "-child", "care", 1);
  cancel(id + "-child", "by hand");
  EXPECT_THAT(expect_failed(id).at("message").get<std::string>(), HasSubstr("WorkflowCancelled: by hand"));
}

TEST_P(Child, OnAQueueOfItsOwnIsServedAndReached) {
  const auto id = start("landlord", 3);
  expect_completed(id, 10);
  EXPECT_EQ(one("SELECT queue FROM workflow_instances WHERE instance_id = $1", pg::Params(id + "/1")), "scenario-annex");
  EXPECT_EQ(one("SELECT queue FROM workflow_instances WHERE instance_id = $1", pg::Params(id + "/1/2")), "default");
}

TEST_P(Child, ThatBeginsAnewGivesItsParentTheLastGenerationsOutput) {
  const auto id = start("parent_of_reborn", 2);
  expect_completed(id, "life 0");
  EXPECT_THAT(effects(id + "/1"), ElementsAre("life 2", "life 1", "life 0"));
  EXPECT_EQ(history_count(id, "child_completed"), 1);
}

TEST_P(Child, ThatLostBeforeItBeganIsNeverThere) {
  sql("BEGIN");
  const auto id = start("undecided");
  publish(id, "stop", "now");
  sql("COMMIT");
  expect_completed(id, id + "-child");
  EXPECT_EQ(count("SELECT count(*) FROM workflow_instances WHERE instance_id = $1", pg::Params(id + "-child")), 0);
}

TEST_P(Child, OfSeveralAllAreCancelledWithTheirParentAndAllSeeIt) {
  const auto id = start("guardian_of_many");
  for (const char* child : {"-1", "-2"}) expect_times(id + child, "cared for", 1);
  cancel(id, "enough");
  expect_cancelled(id);
  for (const char* child : {"-1", "-2"}) {
    expect_cancelled(id + child);
    EXPECT_THAT(effects(id + child), ElementsAre("cared for", "undo cared for"));
  }
}

}  // namespace
}  // namespace romancy::test
