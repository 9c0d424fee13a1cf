// Queued activities: carried out by the worker, or by the test itself, which knows nothing but the SQL functions.
#include "tests/scenarios/scenario.hpp"
#include "tests/support/daemons.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class OnAQueue : public Scenario {
 protected:
  std::string queue() { return mine("q"); }
  // "7, 123": task and token of the next task of this test's queue; waits for it.
  std::string take(const std::string& lease = "1 minute") {
    std::string task;
    EXPECT_TRUE(eventually([&] {
      task = one("SELECT task_id || ', ' || token FROM claim_activity_tasks($1, 'test', 1, $2::interval)", pg::Params(queue(), lease));
      return !task.empty();
    }));
    return task;
  }
  std::string heartbeat(const std::string& task, const std::string& details = "NULL") {
    return one("SELECT heartbeat_activity_task(" + task + ", " + details + ")");
  }
  bool complete(const std::string& task, const std::string& result = R"("done")") {
    return sql("SELECT complete_activity_task(" + task + ", '" + result + "')").boolean(0, 0);
  }
  bool fail(const std::string& task, const std::string& type = "Broken") {
    return sql("SELECT fail_activity_task(" + task + ", '" + type + "', 'm')").boolean(0, 0);
  }
  std::unique_ptr<Daemon> python_worker(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {ROMANCY_EXAMPLES "/python_worker/worker.py", conninfo(), "--schema", schema()});
    return std::make_unique<Daemon>("/usr/bin/python3", std::move(arguments), dir.path() + "/python.log");
  }
  TempDir dir;
  std::int64_t tasks(const std::string& id) { return count("SELECT count(*) FROM activity_tasks WHERE instance_id = $1", pg::Params(id)); }
};
ROMANCY_THEME(Queued, OnAQueue);

TEST_P(Queued, AreServedByAWorkerThatRegistersThem) {
  const auto id = start("enlarger", "picture");
  expect_completed(id, "big picture");
  EXPECT_EQ(times(id, "enlarge picture"), 1);
  EXPECT_EQ(one("SELECT string_agg(kind, ' ' ORDER BY seq) FROM workflow_history WHERE instance_id = $1", pg::Params(id)),
            "started activity_queued activity_completed completed");
}

TEST_P(Queued, OnlyTheyHaveHeartbeats) {
  EXPECT_THAT(expect_failed(start("chatters")).at("message").get<std::string>(), HasSubstr("this activity is not queued"));
}

TEST_P(Queued, TellHowFarTheyAreBeforeTheyEnd) {
  const auto id = start("carver", mine("gate"));
  EXPECT_TRUE(eventually([&] { return one("SELECT details FROM activity_tasks WHERE instance_id = $1", pg::Params(id)) == "50"; }));
  const auto said = romancy({"show", id}).out;
  EXPECT_THAT(said, HasSubstr("waits for activity carve on queue scenario-stone, held by"));
  open_gate(mine("gate"));
  expect_completed(id, 50);
}

TEST_P(Queued, ThatFailHaveSentWhatTheyTold) { expect_completed(start("stumbler"), Json::array({3000})); }

TEST_P(Queued, ThatFailAreTriedAgainByTheirPolicy) {
  const auto id = start("enlarger", "odd");
  expect_completed(id, "big odd");
  EXPECT_EQ(times(id, "enlarge odd"), 3);
}

TEST_P(Queued, AreServedThroughSqlAloneWhileTheWorkflowIsOutOfMemory) {
  const auto id = start("asks_far", queue());
  expect_at_rest(id);
  const auto task = take();
  EXPECT_EQ(heartbeat(task), "ok");
  EXPECT_TRUE(complete(task));
  EXPECT_FALSE(complete(task));
  expect_completed(id, "done");
}

TEST_P(Queued, OfAQueueNobodyServesWait) {
  const auto id = start("asks_far", queue());
  expect_at_rest(id);
  EXPECT_EQ(one("SELECT activity || ' ' || queue || ' ' || status FROM activity_tasks WHERE instance_id = $1", pg::Params(id)),
            "far " + queue() + " waiting");
  EXPECT_THAT(romancy({"show", id}).out, HasSubstr("waits for activity far"));
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(tasks(id), 0);
}

TEST_P(Queued, ThatFailThriceTellTheWorkflowSo) {
  const auto id = start("asks_far", queue());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(fail(take()));
  expect_completed(id, "Broken 3");
}

TEST_P(Queued, WhoseHolderFallsSilentGoToTheNextWithTheDetailsAndTheLateCompletionIsRefused) {
  const auto id = start("asks_far", queue());
  const auto lost = take("200 milliseconds");
  EXPECT_EQ(heartbeat(lost, R"('{"page": 3}')"), "ok");
  // Nobody claims: the timer sees the end of the lease.
  EXPECT_TRUE(eventually([&] { return one("SELECT status FROM activity_tasks WHERE instance_id = $1", pg::Params(id)) == "waiting"; }));
  EXPECT_EQ(heartbeat(lost), "lost");
  EXPECT_EQ(one("SELECT details::text FROM activity_tasks WHERE instance_id = $1", pg::Params(id)), R"({"page": 3})");
  const auto task = take();
  EXPECT_FALSE(complete(lost, R"("late")"));
  EXPECT_TRUE(complete(task, R"("in time")"));
  expect_completed(id, "in time");
}

TEST_P(Queued, OfACancelledWorkflowAreToldAtTheirHeartbeatAndEndFirst) {
  const auto id = start("asks_far", queue());
  const auto task = take();
  cancel(id, "enough");
  EXPECT_TRUE(eventually([&] { return heartbeat(task) == "cancelled"; }));
  EXPECT_EQ(status(id), "running");
  EXPECT_TRUE(complete(task));
  expect_status(id, "completed");  // it did not wait for anything after that
  EXPECT_EQ(history_count(id, "activity_completed"), 1);
}

// examples/python_worker, which dies in the middle of a task; another one gets it when the lease is over.
TEST_P(Queued, AreServedByPythonWhichMayDie) {
  if (std::system("/usr/bin/python3 -c 'import psycopg2' 2>/dev/null") != 0)
    GTEST_SKIP() << "NOT TESTED: python3-psycopg2 is missing (apt-get install python3-psycopg2)";
  const auto id = start("asks_far_for", {queue(), "slow"});
  const auto serve = [&] { return python_worker({"--queue", queue(), "--activity", "far", "--lease", "0.5", "--poll", "0.5"}); };
  {
    const auto first = serve();
    EXPECT_TRUE(eventually([&] { return one("SELECT status FROM activity_tasks WHERE instance_id = $1", pg::Params(id)) == "held"; }));
    first->kill9();
  }
  const auto second = serve();
  expect_completed(id, "SLOW!");
  EXPECT_EQ(history_count(id, "activity_completed"), 1);
  const auto again = start("asks_far_for", {queue(), "hello"}, "b");
  expect_completed(again, "HELLO!");
}

TEST_P(Queued, AndTheInstanceThatWaitsForThemAreCounted) {
  const auto active = [&] {
    return one("SELECT coalesce(sum(active), 0) || ' active, ' || coalesce(sum(stuck), 0) || ' stuck' FROM workflow_statistics WHERE workflow_name = 'counted'");
  };
  const auto of = [&](const std::string& name) {
    return one("SELECT waiting || ' waiting, ' || held || ' held' FROM activity_statistics WHERE queue = $1 AND activity = 'far'", pg::Params(name));
  };
  const std::string other = queue() + "-other";
  EXPECT_EQ(active(), "0 active, 0 stuck");
  EXPECT_EQ(of(queue()), "");
  const auto id = start("counted", Json::array({queue(), other}));
  EXPECT_EQ(active(), "1 active, 0 stuck");
  expect_at_rest(id);
  EXPECT_EQ(of(queue()), "1 waiting, 0 held");
  const auto first = take();
  EXPECT_EQ(of(queue()), "0 waiting, 1 held");
  EXPECT_TRUE(complete(first));
  EXPECT_TRUE(eventually([&] { return of(other) == "1 waiting, 0 held"; }));
  EXPECT_EQ(of(queue()), "");
  const auto completed = [&] { return count("SELECT completed FROM workflow_statistics WHERE workflow_name = 'counted'"); };
  const auto before = completed();
  EXPECT_TRUE(sql("SELECT complete_activity_task(task_id, token, '\"x\"') FROM claim_activity_tasks($1, 'test', 1, '1 minute')", pg::Params(other)).boolean(0, 0));
  expect_completed(id);
  EXPECT_EQ(active(), "0 active, 0 stuck");
  EXPECT_EQ(completed(), before + 1);
}

TEST_P(Queued, ThatLoseARaceAreTakenBack) {
  const auto id = start("races_far", queue());
  const auto task = take();
  publish(id, "stop", "now");
  EXPECT_TRUE(eventually([&] { return heartbeat(task) == "cancelled"; }));
  EXPECT_FALSE(complete(task));
  EXPECT_EQ(tasks(id), 0);
  publish(id, "stop", "over");
  expect_completed(id, "over");
}

TEST_P(Queued, UndoWhatWasDone) {
  const auto id = start("undoes_far", queue());
  expect_at_rest(id);
  EXPECT_EQ(tasks(id), 0);
  cancel(id);
  const auto task = take();
  EXPECT_EQ(heartbeat(task), "ok");
  EXPECT_EQ(status(id), "compensating");
  EXPECT_TRUE(complete(task));
  expect_cancelled(id);
}

}  // namespace
}  // namespace romancy::test
