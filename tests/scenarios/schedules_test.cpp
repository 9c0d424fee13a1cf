// Schedules: workflows that are started at times, from the client's statement to the result of what was started.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ScheduleScenario : public Scenario {
 protected:
  // What it started and has ended well.
  std::int64_t completed() { return instances("status = 'completed'"); }
  std::int64_t instances(const std::string& which) {
    return count("SELECT count(*) FROM workflow_instances WHERE starts_with(instance_id, $1) AND " + which, pg::Params(mine("s@")));
  }
  void every_second(const std::string& workflow, const Json& input, const std::string& overlap) {
    EXPECT_EQ(one("SELECT create_schedule($1, $2, every => '1 second', input => $3, overlap => $4)",
                  pg::Params(mine("s"), workflow, input.dump(), overlap)), "created");
  }
  // No tick any more, and all that it started has ended.
  void expect_over() {
    EXPECT_EQ(one("SELECT remove_schedule($1)", pg::Params(mine("s"))), "t");
    EXPECT_TRUE(eventually([&] { return instances("status = 'running'") == 0; }));
  }
  // One began before the one that began before it had ended.
  std::int64_t overlaps() {
    return count("SELECT count(*) FROM (SELECT created_at, lag(finished_at) OVER (ORDER BY created_at) AS former FROM workflow_instances "
                 "WHERE starts_with(instance_id, $1)) i WHERE created_at < former", pg::Params(mine("s@")));
  }
};
ROMANCY_THEME(Schedules, ScheduleScenario);

TEST_P(Schedules, EachTickStartsOneInstanceThatRuns) {
  every_second("nap", 1, "allow");
  ASSERT_TRUE(eventually([&] { return completed() >= 3; }));
  const auto ticks = sql("SELECT count(*), 1 + extract(epoch FROM max(tick) - min(tick))::bigint FROM (SELECT split_part(instance_id, '@', 2)"
                         "::timestamptz AS tick FROM workflow_instances WHERE starts_with(instance_id, $1)) t", pg::Params(mine("s@")));
  EXPECT_EQ(ticks.int64(0, 0), ticks.int64(0, 1));
  EXPECT_EQ(one("SELECT missed || ' ' || overlapped FROM workflow_schedules WHERE name = $1", pg::Params(mine("s"))), "0 0");
  expect_over();
}

TEST_P(Schedules, SkipStartsNothingBesideWhatStillRuns) {
  every_second("nap", 1300, "skip");
  ASSERT_TRUE(eventually([&] { return completed() >= 2; }));
  EXPECT_GE(count("SELECT overlapped FROM workflow_schedules WHERE name = $1", pg::Params(mine("s"))), 1);
  expect_over();
  EXPECT_EQ(overlaps(), 0);
}

TEST_P(Schedules, QueueOneStartsTheNextWhenTheOtherHasEnded) {
  every_second("nap", 1300, "queue_one");
  ASSERT_TRUE(eventually([&] { return completed() >= 3; }));
  expect_over();
  EXPECT_EQ(overlaps(), 0);
}

TEST_P(Schedules, CancelOtherCancelsWhatStillRuns) {
  every_second("nap", 3'600'000, "cancel_other");
  ASSERT_TRUE(eventually([&] { return instances("status = 'cancelled'") >= 2; }));
  EXPECT_EQ(one("SELECT remove_schedule($1)", pg::Params(mine("s"))), "t");
  sql("SELECT cancel_workflow(instance_id) FROM workflow_instances WHERE starts_with(instance_id, $1) AND status = 'running'", pg::Params(mine("s@")));
  EXPECT_TRUE(eventually([&] { return instances("status = 'running'") == 0; }));
}

TEST_P(Schedules, TriggeredOneRunsNowAlsoWhileItIsPaused) {
  EXPECT_THAT(romancy({"schedule", "create", mine("s"), "nap", "--cron", "0 0 1 1 *", "--time-zone", "Asia/Kolkata", "--input", "1"}).out,
              HasSubstr("created"));
  EXPECT_EQ(romancy({"schedule", "pause", mine("s")}).exit_code, 0);
  const Said triggered = romancy({"schedule", "trigger", mine("s")});
  EXPECT_THAT(triggered.out, StartsWith(mine("s@")));
  expect_completed(triggered.out.substr(0, triggered.out.find('\n')));
  expect_over();
}

}  // namespace
}  // namespace romancy::test
