// Transactional activities: what they write, what they send, and their result are one commit.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::UnorderedElementsAre;

THEME(Transactional);

TEST_P(Transactional, TheirEffectAndTheirResultAreThereTogetherAndOnce) {
  const auto id = start("pays", "paid");
  expect_completed(id, 3);  // each of the three saw its own row, and those before it
  EXPECT_EQ(times(id, "paid"), 3);
  EXPECT_EQ(history_count(id, "activity_completed"), 3);
}

TEST_P(Transactional, WhatTheyWriteIsInvisibleUntilItsCommit) {
  const auto id = start("tx_held", mine("gate"));
  expect_times(id, "inside", 1);
  EXPECT_EQ(times(id, "paid"), 0);
  EXPECT_EQ(history_count(id, "activity_completed"), 0);
  open_gate(mine("gate"));
  expect_completed(id, "paid");
  EXPECT_EQ(times(id, "paid"), 1);
}

TEST_P(Transactional, AFailedAttemptIsRolledBackAndTheOneThatSucceedsIsKept) {
  const auto id = start("tx_retried", {{"what", "paid"}, {"failures", 2}});
  expect_completed(id, 3);
  EXPECT_EQ(one("SELECT string_agg(attempt::text, ' ') FROM effects WHERE instance_id = $1", pg::Params(id)), "3");
}

TEST_P(Transactional, TheirFailureIsKeptThoughTheirWorkIsRolledBack) {
  const auto id = start("tx_branch", "paid");
  expect_completed(id, "NoSuchAccount");
  EXPECT_THAT(effects(id), ElementsAre("NoSuchAccount"));
  EXPECT_EQ(history_count(id, "activity_failed"), 1);
}

TEST_P(Transactional, OneThatIsGivenUpLeavesNothing) {
  const auto id = start("tx_retried", {{"what", "paid"}, {"failures", 99}});
  expect_failed(id);
  EXPECT_TRUE(effects(id).empty());
}

TEST_P(Transactional, ManyOfOneInstanceAtOnceTakeEffectOnceEach) {
  const auto id = start("pays_at_once", 20);
  expect_completed(id, 20);
  EXPECT_EQ(effects(id).size(), 20u);
  EXPECT_EQ(count("SELECT count(DISTINCT what) FROM effects WHERE instance_id = $1", pg::Params(id)), 20);
  EXPECT_EQ(history_count(id, "activity_completed"), 20);
}

TEST_P(Transactional, TheSearchPathIsTheRolesWithTheEngineBehindIt) {
  const auto id = start("tx_shows");
  expect_status(id, "completed");
  const Json said = output(id);
  EXPECT_THAT(said.at("path").get<std::string>(), EndsWith(", " + said.at("schema").get<std::string>()));
  EXPECT_EQ(said.at("path"), one("SELECT reset_val FROM pg_settings WHERE name = 'search_path'").find("public") == std::string::npos
                                 ? said.at("path")
                                 : Json("\"$user\", public, " + said.at("schema").get<std::string>()));
  EXPECT_EQ(said.at("zone"), "UTC");
}

TEST_P(Transactional, ASavepointUndoesItsPartAlone) {
  const auto id = start("tx_saves");
  expect_completed(id, "22012");
  EXPECT_THAT(effects(id), ElementsAre("kept"));
}

TEST_P(Transactional, OneWhoseWorkflowDecidedOtherwiseLeavesNothing) {
  const auto id = start("tx_overtaken", mine("gate"));
  expect_times(id, "inside", 1);
  publish(id, "stop", "stopped");
  expect_outside(mine("gate"));  // the gate is still closed
  ASSERT_TRUE(eventually([&] { return history_count(id, "message_received") == 1; })) << story(id);
  open_gate(mine("gate"));
  publish(id, "go on", 1);
  expect_completed(id, "stopped");
  EXPECT_EQ(times(id, "paid"), 0);
}

TEST_P(Transactional, CancelReachesThemAndLeavesNothing) {
  const auto id = start("tx_held", mine("gate"));
  expect_times(id, "inside", 1);
  cancel(id);
  expect_cancelled(id);
  expect_outside(mine("gate"));  // the gate is still closed
  EXPECT_EQ(times(id, "paid"), 0);
  EXPECT_EQ(history_count(id, "activity_completed"), 0);
}

TEST_P(Transactional, AStatementThatTakesTooLongIsATimeOutAndIsRolledBack) {
  const auto id = start("tx_in_haste");
  expect_completed(id, "AttemptTimedOut at 2");
  EXPECT_TRUE(effects(id).empty());
}

TEST_P(Transactional, ADeadlockIsTriedAgainWhateverThePolicySays) {
  const Json xy = {{"first", mine("x")}, {"second", mine("y")}, {"gate", mine("gate")}};
  const Json yx = {{"first", mine("y")}, {"second", mine("x")}, {"gate", mine("gate")}};
  const auto a = start("tx_locks", xy, "a"), b = start("tx_locks", yx, "b");
  for (const auto& id : {a, b}) expect_times(id, "inside", 1);
  open_gate(mine("gate"));
  for (const auto& id : {a, b}) {
    expect_completed(id);
    EXPECT_EQ(times(id, "both"), 1);
  }
  EXPECT_GE(times(a, "inside") + times(b, "inside"), 3) << "there was a deadlock";
}

TEST_P(Transactional, UndoTransactionalStepsOnceEach) {
  const auto id = start("tx_saga", 3);
  expect_failed(id);
  EXPECT_THAT(effects(id), ElementsAre("step 1", "step 2", "step 3", "undo step 3", "undo step 2", "undo step 1"));
}

// ----------------------------------------------------------------------------------------- the engine's functions inside

class Inside : public Scenario {
 protected:
  Json calls(const std::string& box, int failures, const std::string& gate = "") {
    return {{"target", box}, {"child", mine("child")}, {"event", mine("event")}, {"gate", gate}, {"failures", failures}};
  }
  std::int64_t events() { return count("SELECT count(*) FROM outbox_events WHERE event_id = $1", pg::Params(mine("event"))); }
};
ROMANCY_THEME(InsideTransactional, Inside);

TEST_P(InsideTransactional, MessageStartAndEventLeaveWithTheAttemptThatSucceeds) {
  const auto box = start("mailbox", 2, "box");
  expect_at_rest(box);
  const auto id = start("tx_calls_all", calls(box, 1));
  expect_completed(id, 2);
  publish(box, "mail", "last");
  expect_completed(box, {2, "last"});  // the message of the first attempt was never sent
  expect_completed(mine("child"), "of attempt 2");
  EXPECT_EQ(one("SELECT data::text FROM outbox_events WHERE event_id = $1", pg::Params(mine("event"))), "2");
  EXPECT_EQ(times(id, "calls"), 1);
}

TEST_P(InsideTransactional, NothingLeavesWhenEveryAttemptFails) {
  const auto box = start("mailbox", 1, "box");
  expect_at_rest(box);
  expect_failed(start("tx_calls_all", calls(box, 99)));
  publish(box, "mail", "only");
  expect_completed(box, {"only"});
  EXPECT_EQ(status(mine("child")), "");
  EXPECT_EQ(events(), 0);
}

TEST_P(InsideTransactional, NothingIsSeenBeforeItsCommitAndNobodyWaitsForIt) {
  const auto box = start("mailbox", 2, "box");
  expect_at_rest(box);
  const auto id = start("tx_calls_all", calls(box, 0, mine("gate")));
  expect_times(id, "inside", 1);
  EXPECT_EQ(status(mine("child")), "");
  EXPECT_EQ(events(), 0);
  publish(box, "mail", "meanwhile");  // the open transaction holds up neither the sender nor the receiver
  ASSERT_TRUE(eventually([&] { return history_count(box, "message_received") == 1; })) << story(box);
  open_gate(mine("gate"));
  expect_completed(id, 1);
  expect_completed(box, {"meanwhile", 1});
  expect_completed(mine("child"), "of attempt 1");
  EXPECT_EQ(events(), 1);
}

TEST_P(InsideTransactional, OneThatIsCancelledSendsNothing) {
  const auto box = start("mailbox", 1, "box");
  expect_at_rest(box);
  const auto id = start("tx_calls_all", calls(box, 0, mine("gate")));
  expect_times(id, "inside", 1);
  cancel(id);
  expect_cancelled(id);
  expect_outside(mine("gate"));
  publish(box, "mail", "only");
  expect_completed(box, {"only"});
  EXPECT_EQ(status(mine("child")), "");
  EXPECT_EQ(events(), 0);
}

TEST_P(InsideTransactional, AMessageToItsOwnInstanceArrives) {
  for (int i = 0; i < 5; ++i) start("tx_answers", "to me", std::to_string(i));
  for (int i = 0; i < 5; ++i) expect_completed(mine(std::to_string(i)), "to me");
}

}  // namespace
}  // namespace romancy::test
