// Timers: sleeping workflows, starts that wait for their time, and what stays the same in every replay.
#include <set>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

THEME(Timers);

TEST_P(Timers, ASleeperWakesUpNeverEarlierThanItAsked) {
  const auto id = start("nap", 120);
  expect_completed(id);
  EXPECT_GE(output(id).get<std::int64_t>(), 120'000);
  EXPECT_THAT(history(id), ElementsAre("started", "side_effect now", "timer_started sleep", "timer_fired sleep", "side_effect now", "completed"));
}

TEST_P(Timers, ASleepOfNothingOrLessIsOverAtOnce) {
  expect_completed(start("nap", 0, "zero"));
  expect_completed(start("nap", -5000, "negative"));
}

TEST_P(Timers, SleepUntilWaitsForTheMoment) { expect_completed(start("nap_until", 100), true); }

TEST_P(Timers, SleepUntilAMomentThatHasPassedIsOverAtOnce) { expect_completed(start("nap_until", -100'000), true); }

TEST_P(Timers, AMomentThatHasPassedDoesNotShiftWhatComesAfterIt) {
  const auto id = start("past_then_naps");
  expect_completed(id, "ab");
  EXPECT_THAT(effects(id), ElementsAre("a", "b"));
}

TEST_P(Timers, SleepsFollowEachOther) {
  const auto id = start("naps", {5, 1, 10, 1, 5});
  expect_completed(id, 5);
  EXPECT_THAT(effects(id), ElementsAre("nap 5", "nap 1", "nap 10", "nap 1", "nap 5"));
}

TEST_P(Timers, ASleepingWorkflowIsARowThatSaysWhenItWakesUp) {
  const auto id = start("hour", "never");
  expect_timer(id, "sleep");
  EXPECT_EQ(one("SELECT timer_id || ' ' || (expires_at BETWEEN now() + interval '59 minutes' AND now() + interval '61 minutes') "
                "FROM timers WHERE instance_id = $1", pg::Params(id)), "sleep:1 true");
  EXPECT_EQ(status(id), "running");
  EXPECT_EQ(one("SELECT worker FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), "") << "nobody holds a sleeper";
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(timers(id), 0);
  EXPECT_EQ(times(id, "never"), 0);
}

TEST_P(Timers, AFiredTimerLeavesNoRow) {
  const auto id = start("naps", {1, 1});
  expect_completed(id, 2);
  EXPECT_EQ(timers(id), 0);
}

TEST_P(Timers, ASleepBeyondAThousandYearsIsRefused) {
  const Json error = expect_failed(start("too_long"));
  EXPECT_THAT(error.at("type").get<std::string>(), HasSubstr("invalid_argument"));
}

TEST_P(Timers, ManySleepersAllWakeUp) {
  for (int i = 0; i < 60; ++i) start("naps", {i % 20, 20 - i % 20}, std::to_string(i));
  for (int i = 0; i < 60; ++i) expect_completed(mine(std::to_string(i)), 2);
  EXPECT_EQ(count("SELECT count(*) FROM effects WHERE instance_id ^@ $1", pg::Params(prefix())), 120);
}

TEST_P(Timers, OneSleeperDoesNotHoldUpAnother) {
  const auto sleeper = start("hour", "never", "sleeper");
  expect_timer(sleeper, "sleep");
  expect_completed(start("nap", 10, "short"));
  EXPECT_EQ(status(sleeper), "running");
  cancel(sleeper);
  expect_cancelled(sleeper);
}

TEST_P(Timers, ClockRandomAndUuidAreTheSameInEveryReplay) {
  const auto id = start("same_every_time", 4);
  expect_status(id, "completed");
  const Json said = output(id);
  EXPECT_EQ(said.at("now"), said.at("then"));
}

TEST_P(Timers, RandomAndUuidDifferWithinAndBetweenInstances) {
  std::set<std::string> uuids;
  for (const char* name : {"a", "b", "c"}) {
    const auto id = start("same_every_time", 0, name);
    expect_status(id, "completed");
    const Json all = Json::parse(output(id).at("now").get<std::string>());
    for (const int at : {0, 3}) uuids.insert(all[at].get<std::string>());
    EXPECT_NE(all[1], all[4]);
  }
  EXPECT_EQ(uuids.size(), 6u);
}

TEST_P(Timers, AWorkflowKnowsItsInstanceAndItsName) {
  const auto id = start("about_me");
  expect_completed(id, id + " about_me");
}

TEST_P(Timers, AReminderIsRepeatedUntilSomebodyAnswers) {
  const auto id = start("reminder", 20);
  ASSERT_TRUE(eventually([&] { return times(id, "remind") >= 3; })) << story(id);
  publish(id, "answer", true);
  expect_status(id, "completed");
  EXPECT_EQ(output(id).get<int>(), times(id, "remind"));
}

// ------------------------------------------------------------------------------------------------------------ start_at

THEME(StartAt);

TEST_P(StartAt, AStartInTheFutureWaitsForItsMoment) {
  sql("BEGIN");
  const auto id = one("SELECT start_workflow('one_step', '\"late\"', $1, start_at => clock_timestamp() + interval '250 milliseconds')", pg::Params(mine("a")));
  EXPECT_EQ(one("SELECT kind || ' ' || timer_id FROM timers WHERE instance_id = $1", pg::Params(id)), "start_at start_at:0");
  const auto moment = one("SELECT expires_at FROM timers WHERE instance_id = $1", pg::Params(id));
  sql("COMMIT");
  expect_completed(id, "late");
  EXPECT_EQ(one("SELECT min(created_at) >= $2::timestamptz FROM workflow_history WHERE instance_id = $1", pg::Params(id, moment)), "t");
}

TEST_P(StartAt, AStartInThePastBeginsAtOnce) {
  const auto id = one("SELECT start_workflow('one_step', '\"now\"', $1, start_at => now() - interval '1 hour')", pg::Params(mine("a")));
  EXPECT_EQ(timers(id), 0);
  expect_completed(id, "now");
}

TEST_P(StartAt, ItsInputIsVisibleWhileItWaits) {
  const auto id = one("SELECT start_workflow('one_step', '\"tomorrow\"', $1, start_at => now() + interval '1 day')", pg::Params(mine("a")));
  EXPECT_EQ(one("SELECT status || ' ' || input::text FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), "running \"tomorrow\"");
  EXPECT_TRUE(history(id).empty());
  cancel(id);
  expect_cancelled(id);
}

TEST_P(StartAt, CancelledBeforeItsMomentRunsNoCode) {
  const auto id = one("SELECT start_workflow('one_step', '\"never\"', $1, start_at => now() + interval '1 day')", pg::Params(mine("a")));
  cancel(id, "not needed");
  EXPECT_EQ(expect_cancelled(id).at("reason"), "not needed");
  EXPECT_TRUE(effects(id).empty());
  EXPECT_EQ(timers(id), 0);
}

TEST_P(StartAt, StartedAgainWithAnotherMomentIsTheSameInstance) {
  const auto id = one("SELECT start_workflow('one_step', '\"first\"', $1, start_at => now() + interval '200 milliseconds')", pg::Params(mine("a")));
  EXPECT_EQ(one("SELECT start_workflow('one_step', '\"second\"', $1)", pg::Params(id)), id);
  expect_completed(id, "first");
  EXPECT_THAT(effects(id), ElementsAre("first"));
}

TEST_P(StartAt, MessagesSentBeforeItsMomentWaitForIt) {
  const auto id = one("SELECT start_workflow('mailbox', '2', $1, start_at => now() + interval '200 milliseconds')", pg::Params(mine("a")));
  publish(id, "mail", 1);
  publish(id, "mail", 2);
  expect_completed(id, {1, 2});
}

TEST_P(StartAt, InfinityIsNoMoment) {
  EXPECT_THAT(refused("SELECT start_workflow('one_step', '1', start_at => 'infinity')"), HasSubstr("22023"));
}

}  // namespace
}  // namespace romancy::test
