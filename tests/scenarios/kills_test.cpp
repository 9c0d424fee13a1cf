// Kills: any process dies at any moment, and nothing is lost or done twice.
#include <signal.h>

#include <random>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Killings : public OwnScenario {
 protected:
  // Every effect under a key of its own, however often it was tried; each key at most `attempts` times.
  void expect_each_key_at_most(int attempts) {
    EXPECT_EQ(count("SELECT count(*) FROM (SELECT FROM effects GROUP BY key HAVING count(*) > $1) k", pg::Params(attempts)), 0);
  }
  std::int64_t keys(const std::string& what) {
    return count("SELECT count(DISTINCT key) FROM effects WHERE what = $1", pg::Params(what));
  }
};
ROMANCY_THEME(Kills, Killings);

TEST_P(Kills, AWorkerInTheMiddleOfAnActivityTheAttemptIsMadeAgainWithTheSameKey) {
  system.start_all(1);
  const auto id = start("held_step", mine("gate"));
  expect_times(id, "held", 1);
  system.worker(1).kill9();
  system.start_worker(2);
  expect_times(id, "held", 2);
  open_gate(mine("gate"));
  expect_completed(id, mine("gate"));
  EXPECT_EQ(keys("held"), 1);
}

TEST_P(Kills, AWorkerInTheMiddleOfAQueuedActivityTheNextAttemptKnowsHowFarItHadCome) {
  system.start_all(1);
  const auto id = start("carver", mine("gate"));
  EXPECT_TRUE(eventually([&] { return one("SELECT details FROM activity_tasks WHERE instance_id = $1", pg::Params(id)) == "50"; }));
  system.worker(1).kill9();
  system.start_worker(2);
  expect_times(id, "carve 50 in attempt 2", 1);
  open_gate(mine("gate"));
  expect_completed(id, 100);
  EXPECT_EQ(keys("carve 0 in attempt 1"), 1);
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 1);
}

TEST_P(Kills, AWorkerThatIsAskedToStopFinishesItsQueuedActivity) {
  system.start_all(1);
  const auto id = start("carver", mine("gate"));
  expect_times(id, "carve 0 in attempt 1", 1);
  open_gate(mine("gate"));
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();
  EXPECT_EQ(count("SELECT count(*) FROM activity_tasks WHERE instance_id = $1", pg::Params(id)), 0);
  system.start_worker(2);
  expect_completed(id, 50);
}

class InAHurry : public OwnScenario {
 protected:
  InAHurry() : OwnScenario("[supervisor]\nstop_timeout = \"1s\"\n") {}
};
ROMANCY_THEME(Hurried, InAHurry);

TEST_P(Hurried, AWorkerGivesItsQueuedActivityBackAndTheAttemptDoesNotCount) {
  system.start_all(1);
  const auto id = start("carver", mine("gate"));
  EXPECT_TRUE(eventually([&] { return one("SELECT details FROM activity_tasks WHERE instance_id = $1", pg::Params(id)) == "50"; }));
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();
  EXPECT_EQ(one("SELECT status || ' ' || attempt FROM activity_tasks WHERE instance_id = $1", pg::Params(id)), "waiting 0");
  system.start_worker(2);
  expect_times(id, "carve 50 in attempt 1", 1);
  open_gate(mine("gate"));
  expect_completed(id, 100);
}

TEST_P(Kills, AWorkerInTheMiddleOfATransactionLeavesNothingOfIt) {
  system.start_all(1);
  const auto box = start("mailbox", 2, "box");
  expect_at_rest(box);
  const auto id = start("tx_calls_all", {{"target", box}, {"child", mine("child")}, {"event", mine("event")}, {"gate", mine("gate")}, {"failures", 0}});
  expect_times(id, "inside", 1);
  system.worker(1).kill9();
  system.start_worker(2);
  expect_times(id, "inside", 2);
  EXPECT_EQ(times(id, "calls"), 0);
  open_gate(mine("gate"));
  expect_status(id, "completed");
  publish(box, "mail", "last");
  expect_completed(box, {1, "last"});
  expect_completed(mine("child"), "of attempt 1");
  EXPECT_EQ(times(id, "calls"), 1);
  EXPECT_EQ(count("SELECT count(*) FROM outbox_events"), 1);
}

TEST_P(Kills, AWorkerWhoseAsynchronousActivityWaitsTheAttemptIsMadeAgainWithTheSameKey) {
  system.start_all(1);
  const auto id = start("async_held", mine("gate"));
  expect_times(id, "held", 1);
  system.worker(1).kill9();
  system.start_worker(2);
  expect_times(id, "held", 2);
  open_gate(mine("gate"));
  expect_completed(id, mine("gate"));
  EXPECT_EQ(keys("held"), 1);
}

// Its pauses are a second, its time for all attempts less than two: a third attempt would be one of a time that began anew.
TEST_P(Kills, AWorkerDuringAPauseTheTimeForAllAttemptsGoesOn) {
  system.start_all(1);
  const auto id = start("given_seconds");
  expect_timer(id, "retry");
  system.worker(1).kill9();
  system.start_worker(2);
  expect_status(id, "completed");
  EXPECT_EQ(output(id), times(id, "try"));
  EXPECT_GE(times(id, "try"), 1);
  EXPECT_LE(times(id, "try"), 2);
}

TEST_P(Kills, AWorkerWhileItsWorkflowsSleep) {
  system.start_all(1);
  for (int i = 0; i < 10; ++i) expect_timer(start("nap", 300, std::to_string(i)), "sleep");
  system.worker(1).kill9();
  system.start_worker(2);
  for (int i = 0; i < 10; ++i) expect_completed(mine(std::to_string(i)));
}

TEST_P(Kills, AWorkerWhileItsWorkflowsWaitForMessages) {
  system.start_all(1);
  const auto id = start("packed", {{"id", "o-1"}, {"size", "small"}, {"lines", Json::array()}, {"tags", Json::object()}, {"weight", 1.5}, {"gift", false}});
  expect_at_rest(id);
  system.worker(1).kill9();
  publish(id, "send it", 1);
  system.start_worker(2);
  expect_status(id, "completed");
  EXPECT_EQ(output(id).at("lines").size(), 1u);
  EXPECT_EQ(times(id, "pack"), 1);
}

TEST_P(Kills, AWorkerInTheMiddleOfACompensation) {
  system.start_all(1);
  const auto id = start("undoes_slowly", mine("gate"));
  expect_at_rest(id);
  publish(id, "go on", 1);
  expect_times(id, "undoing", 1);
  system.worker(1).kill9();
  system.start_worker(2);
  expect_times(id, "undoing", 2);
  open_gate(mine("gate"));
  EXPECT_EQ(expect_failed(id).at("message"), "full");
  EXPECT_EQ(keys("undoing"), 1);
}

TEST_P(Kills, AWorkerBetweenACancelAndItsEnd) {
  system.start_all(1);
  const auto id = start("calls_deaf", mine("gate"));
  expect_times(id, "deaf", 1);
  system.worker(1).signal(SIGSTOP);  // so that it cannot act on it before it dies
  cancel(id, "while nobody looks");
  system.worker(1).kill9();
  system.start_worker(2);
  open_gate(mine("gate"));
  EXPECT_EQ(expect_cancelled(id).at("reason"), "while nobody looks");
  EXPECT_EQ(times(id, "after"), 0);
}

TEST_P(Kills, AWorkerDuringALongPauseTheAttemptsAreNotForgotten) {
  system.start_all(1);
  const auto id = start("later", 1);
  expect_timer(id, "retry");
  system.worker(1).kill9();
  system.start_worker(2);
  expect_completed(id, 2);
  EXPECT_EQ(one("SELECT string_agg(attempt::text, ' ' ORDER BY id) FROM effects"), "1 2");
}

TEST_P(Kills, OneOfTwoWorkersTheOtherTakesOverWithoutBeingTold) {
  system.start_all(2);
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(start("held_step", mine("gate"), std::to_string(i)));
  for (const auto& id : ids) expect_times(id, "held", 1);
  const auto held_by_first = count("SELECT count(*) FROM effects WHERE process = $1", pg::Params(system.worker(1).pid()));
  system.worker(1).kill9();
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM effects") == 12 + held_by_first; }));
  open_gate(mine("gate"));
  for (const auto& id : ids) expect_completed(id);
}

TEST_P(Kills, TheTimerItsTimersFireWhenItIsBack) {
  system.start_all(1);
  const auto id = start("nap", 100);
  expect_timer(id, "sleep");
  system.timer().kill9();
  const auto other = start("one_step", "meanwhile", "other");
  expect_completed(other, "meanwhile");
  system.start_timer();
  expect_completed(id);
}

class ListenerKills : public Killings {};
INSTANTIATE_TEST_SUITE_P(Scenarios, ListenerKills, listening_modes(), name_of_param);

TEST_P(ListenerKills, WorkGoesOnWithoutItAndWithANewOne) {
  system.start_all(2);
  expect_completed(start("one_step", "before", "before"), "before");
  system.listener().kill9();
  expect_completed(start("naps", {1, 1}, "without"), 2);
  system.start_listener();
  expect_completed(start("naps", {1, 1}, "after"), 2);
}

TEST_P(Kills, AllOfThemAtOnce) {
  system.start_all(2);
  for (int i = 0; i < 10; ++i) start("restless", 8, std::to_string(i));
  ASSERT_TRUE(eventually([&] { return keys("turn") >= 20; }));
  system.worker(1).kill9();
  system.worker(2).kill9();
  system.timer().kill9();
  if (GetParam().hearing != Hearing::polling) system.listener().kill9();
  system.start_all(2);
  for (int i = 0; i < 10; ++i) expect_completed(mine(std::to_string(i)), 8);
  EXPECT_EQ(keys("turn"), 80);
  expect_each_key_at_most(2);
}

TEST_P(Kills, WorkersAgainAndAgainUnderLoad) {
  system.start_all(2);
  for (int i = 0; i < 20; ++i) start("everything", 3, std::to_string(i));
  for (int i = 0; i < 4; ++i) {  // a fifth worker that dies over one of them would park it
    const auto done = count("SELECT count(*) FROM effects");
    EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM effects") > done || count("SELECT count(*) FROM workflow_instances WHERE status = 'completed'") == 20; }));
    system.worker(1 + i % 2).kill9();
    system.start_worker(1 + i % 2);
  }
  for (int i = 0; i < 20; ++i) expect_completed(mine(std::to_string(i)));
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects"), 60);
  EXPECT_EQ(count("SELECT count(*) FROM outbox_events"), 60);
}

TEST_P(Kills, AWorkerWhoseMessageHadJustBeenReadItIsNotLost) {
  system.start_all(1);
  const auto id = start("busy_mailbox", mine("gate"));
  for (int i = 0; i < 3; ++i) publish(id, "mail", i);
  expect_times(id, "held", 1);
  system.worker(1).kill9();
  open_gate(mine("gate"));
  system.start_worker(2);
  expect_completed(id, {0, 1, 2});
}

TEST_P(Kills, AnEventSentBeforeTheDeathIsThereOnce) {
  system.start_all(1);
  for (int i = 0; i < 10; ++i) start("announces", 5, std::to_string(i));
  ASSERT_TRUE(eventually([&] { return count("SELECT count(*) FROM outbox_events") >= 10; }));
  system.worker(1).kill9();
  system.start_worker(2);
  for (int i = 0; i < 10; ++i) expect_completed(mine(std::to_string(i)));
  EXPECT_EQ(count("SELECT count(*) FROM outbox_events"), 50);
}

TEST_P(Kills, AWorkerThatStallsIsReplacedAndItsLateResultIsRefused) {
  system.start_all(1);
  const auto id = start("held_step", mine("gate"));
  expect_times(id, "held", 1);
  system.worker(1).signal(SIGSTOP);
  system.start_worker(2);
  expect_times(id, "held", 2);  // after the session's time-out
  open_gate(mine("gate"));
  expect_completed(id);
  system.worker(1).signal(SIGCONT);
  EXPECT_TRUE(eventually([&] { return system.worker(1).logged("session lost"); })) << system.worker(1).log();
  EXPECT_EQ(history_count(id, "activity_completed"), 1);
}

TEST_P(Kills, AWorkerThatIsAskedToStopFinishesWhatItHasInHand) {
  system.start_all(1);
  const auto id = start("held_step", mine("gate"));
  expect_times(id, "held", 1);
  open_gate(mine("gate"));
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();
  EXPECT_EQ(count("SELECT count(*) FROM workers WHERE kind = 'resumer'"), 0);
  system.start_worker(2);
  expect_completed(id);
  EXPECT_EQ(times(id, "held"), 1);
}

TEST_P(Kills, ARestartWithNobodyThereLosesNothingThatCameMeanwhile) {
  const auto box = start("mailbox", 3, "box"), sleeper = start("nap", 1, "sleeper"), gone = start("waits", nullptr, "gone");
  for (int i = 0; i < 3; ++i) publish(box, "mail", i);
  cancel(gone);
  system.start_all(2);
  expect_completed(box, {0, 1, 2});
  expect_completed(sleeper);
  expect_cancelled(gone);
}

TEST_P(Kills, AWorkersConnectionItBeginsANewSessionAndGoesOn) {
  system.start_all(1);
  const auto id = start("restless", 25);
  ASSERT_TRUE(eventually([&] { return times(id, "turn") >= 3; }));
  const auto before = one("SELECT session_id FROM workers WHERE kind = 'resumer'");
  system.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32) | objid::bigint = $1::bigint AND granted",
             pg::Params(before));
  expect_completed(id, 25);
  EXPECT_NE(one("SELECT session_id FROM workers WHERE kind = 'resumer'"), before);
  EXPECT_EQ(keys("turn"), 25);
}

}  // namespace
}  // namespace romancy::test
