// Schedules and real timers, against PostgreSQL. Poll intervals of an hour (TimerStage): what happens was caused by an alarm
// or a hint. Schedules tick every second here; what they start nobody runs.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>

#include "common/base/test_point.hpp"
#include "tests/process/timer_stage.hpp"

namespace romancy::test {
namespace {

class ScheduleStage : public TimerStage {
 public:
  explicit ScheduleStage(const Intervals& intervals = {}, const std::string& conninfo = {}) : TimerStage(intervals, conninfo) {}
  void schedule(const std::string& more = "overlap => 'allow'") {
    sql("SELECT create_schedule('s', 'w', every => '1 second'" + (more.empty() ? "" : ", " + more) + ")");
  }
  std::int64_t started() { return count("SELECT count(*) FROM instances"); }
  bool starts(std::int64_t more) {
    const std::int64_t goal = started() + more;
    return eventually([&] { return started() >= goal; });
  }
  // Each tick from the first one that was started to the last one: one instance, one start, and counted once.
  void expect_each_tick_once() {
    const auto rows = sql(
        "SELECT count(*), (SELECT count(*) FROM inbox WHERE kind = 1), (SELECT started FROM schedules), "
        "1 + extract(epoch FROM max(split_part(instance_id, '@', 2)::timestamptz) - min(split_part(instance_id, '@', 2)::timestamptz))::bigint "
        "FROM instances WHERE instance_id ~ '^s@'");
    for (int column = 1; column < 4; ++column) EXPECT_EQ(rows.int64(0, 0), rows.int64(0, column)) << column;
  }
  // One that dies where `points` says.
  std::unique_ptr<Daemon> timer_that_dies(const std::string& points) {
    return std::make_unique<Daemon>("romancy-timer", std::vector<std::string>{"--config", config()}, dir().path() + "/dies.log",
                                    std::map<std::string, std::string>{{"ROMANCY_TEST_POINTS", points}});
  }
};

TEST(ScheduleProcess, TwoTimersSeeToEachTickOnceAlsoWhenOneIsKilled) {
  ScheduleStage stage;
  stage.schedule();
  auto one = stage.timer("one");
  const auto two = stage.timer("two");
  ASSERT_TRUE(stage.starts(3)) << one->log() << two->log();
  one->kill9();
  ASSERT_TRUE(stage.starts(3)) << two->log();
  const auto three = stage.timer("three");
  ASSERT_TRUE(stage.starts(2)) << two->log() << three->log();
  stage.expect_each_tick_once();
  EXPECT_EQ(stage.count("SELECT missed FROM schedules"), 0);
}

TEST(ScheduleProcess, WhatIsMadeWhileATimerRunsIsHeardOf) {
  ScheduleStage stage({.listen = true});
  const auto listener = stage.listener();
  const auto timer = stage.timer("timer", true);
  stage.schedule();
  ASSERT_TRUE(stage.starts(2)) << timer->log();
  stage.sql("SELECT pause_schedule('s')");
  stage.sql("SELECT resume_schedule('s')");
  EXPECT_TRUE(stage.starts(2)) << timer->log();
  stage.sql("SELECT create_schedule('s', 'w', '* * * * *', time_zone => 'Europe/Berlin')");
  EXPECT_TRUE(eventually([&] {
    return stage.count("SELECT count(*) FROM schedules WHERE next_tick = date_trunc('minute', next_tick) AND next_tick > now() - interval '1 minute'") == 1;
  })) << timer->log();
}

TEST(ScheduleProcess, MissedTicksAreStartedInOrderAndThoseTooOldAreCounted) {
  ScheduleStage stage;
  stage.schedule("overlap => 'allow', catch_up => '5 minutes'");
  stage.sql("UPDATE schedules SET planned_from = date_trunc('second', clock_timestamp()) - interval '4 hours'");  // more than one look may miss
  const auto timer = stage.timer();
  ASSERT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM schedules WHERE next_tick > clock_timestamp()") == 1; })) << timer->log();
  EXPECT_GE(stage.started(), 295);
  EXPECT_LE(stage.started(), 420);
  EXPECT_GE(stage.count("SELECT missed FROM schedules"), 4 * 3600 - 301);
  EXPECT_EQ(stage.count("SELECT missed + started - extract(epoch FROM last_tick - planned_from)::bigint FROM schedules"), 0);
  EXPECT_EQ(stage.count("SELECT count(*) FROM (SELECT instance_id, lag(instance_id) OVER (ORDER BY id) AS before FROM inbox) x "
                        "WHERE instance_id < before"), 0);
  stage.expect_each_tick_once();
}

TEST(ScheduleProcess, TheTicksOfADatabaseThatWasAwayAreCaughtUp) {
  PrivateCluster cluster;
  ScheduleStage stage({}, cluster.conninfo());
  stage.schedule();
  const auto one = stage.timer("one"), two = stage.timer("two");
  ASSERT_TRUE(stage.starts(2)) << one->log();
  cluster.stop("immediate");
  const auto stopped = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - stopped > std::chrono::seconds(3); }));
  cluster.start();
  stage.reconnect();
  ASSERT_TRUE(stage.starts(5)) << one->log() << two->log();
  stage.expect_each_tick_once();
  EXPECT_EQ(stage.count("SELECT missed FROM schedules"), 0);
}

// Its other lanes look several times meanwhile.
TEST(ScheduleProcess, OnceSeesToAllThatIsDueAndEnds) {
  ScheduleStage stage({.timer = "10ms", .timeout = "10ms"});
  stage.sql("SELECT count(create_schedule('s' || n, 'w', every => '1 hour')) FROM generate_series(1, 1000) n");
  stage.sql("UPDATE schedules SET planned_from = clock_timestamp() - interval '1 hour'");
  auto timer = stage.daemon("romancy-timer", "once", {"--once"});
  EXPECT_EQ(WEXITSTATUS(timer->wait()), 0) << timer->log();
  EXPECT_EQ(stage.started(), 1000);
}

TEST(ScheduleProcess, ATimerWhoseHostDoesNotKnowAZoneSaysSoAndGoesOnWithTheOthers) {
  ScheduleStage stage;
  stage.schedule();
  stage.sql("SELECT create_schedule('elsewhere', 'w', '@daily')");
  stage.sql("UPDATE schedules SET time_zone = 'Mars/Olympus' WHERE name = 'elsewhere'");
  const auto timer = stage.timer();
  EXPECT_TRUE(stage.starts(3)) << timer->log();
  EXPECT_EQ(stage.count("SELECT count(*) FROM workflow_schedules WHERE note ~ 'Mars/Olympus'"), 1);
  EXPECT_TRUE(timer->logged("schedule_incomputable"));
}

TEST(ScheduleProcess, ATickThatWasQueuedStartsWhenTheOtherEnds) {
  ScheduleStage stage({.listen = true});
  const auto listener = stage.listener();
  const auto timer = stage.timer("timer", true);
  stage.schedule("overlap => 'queue_one'");
  ASSERT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM schedules WHERE queued_tick IS NOT NULL") == 1; })) << timer->log();
  stage.sql("SELECT pause_schedule('s')");  // so that no further tick makes it look
  stage.sql("UPDATE schedules SET queued_tick = '2026-01-02T03:04:00Z', paused = false, due_at = 'infinity'");
  // As a commit ends it.
  stage.sql("WITH ended AS (UPDATE instances SET status = 2, finished_at = clock_timestamp() RETURNING instance_id) "
            "SELECT wake_schedules(array_agg(instance_id)) FROM ended");
  EXPECT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM instances WHERE instance_id = 's@2026-01-02T03:04:00Z'") == 1; }))
      << timer->log();
}

#ifdef ROMANCY_TEST_POINTS
TEST(ScheduleProcess, KilledBeforeOrAfterItsStatementATimerLosesNoTickAndStartsNoneTwice) {
  for (const std::string point : {"timer.schedule.before", "timer.schedule.after"}) {
    SCOPED_TRACE(point);
    ScheduleStage stage;
    stage.schedule();
    auto dies = stage.timer_that_dies(point + "=crash@3");
    EXPECT_EQ(WTERMSIG(dies->wait()), SIGKILL) << dies->log();
    const auto timer = stage.timer();
    ASSERT_TRUE(stage.starts(3)) << timer->log();
    stage.expect_each_tick_once();
  }
}
#endif

}  // namespace
}  // namespace romancy::test
