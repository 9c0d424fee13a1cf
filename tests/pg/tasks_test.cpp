// Queued activities: what a commit queues, who gets it, and what the run is told; in whatever order the others come.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Tasks : public Storage {
 protected:
  // i1 is leased by session 1, has queued an activity as operation 3, and was let go.
  void queued(const std::string& policy = {}) {
    leased();
    a.run(commit(1, {{.id = "i1", .tasks = {{3, "resize", "gpu", policy, R"({"w": 7})"}}}}));
    c.run("DELETE FROM pokes");
  }
  // "task|token" of the one task a claim gets.
  std::string take(Step& who, const std::string& arguments = "") {
    held = who.run("SELECT task_id || ', ' || token FROM claim_activity_tasks('gpu', 'w1'" + arguments + ")");
    return held;
  }
  std::string heartbeat(const std::string& task, const std::string& details = "NULL") {
    return "SELECT heartbeat_activity_task(" + task + ", " + details + ")";
  }
  static std::string complete(const std::string& task, const std::string& result = "'42'") {
    return "SELECT complete_activity_task(" + task + ", " + result + ")";
  }
  static std::string fail(const std::string& task, const std::string& rest = "'E', 'm'") {
    return "SELECT fail_activity_task(" + task + ", " + rest + ")";
  }
  // Its lease is over, as far as anybody can tell.
  void lapse() { c.run("UPDATE tasks SET due_at = clock_timestamp() - interval '1 second' WHERE token IS NOT NULL"); }
  std::string sweep() { return c.run("SELECT instance_id, timer_id FROM expire_tasks(100)"); }
  std::string told() { return c.run("SELECT op, name, data FROM inbox WHERE kind = 12 ORDER BY id"); }
  // What the holder says at the end, or nobody does.
  std::string end_by(const std::string& how) {
    if (how == "complete") return b.run(complete(held));
    if (how == "fail") return b.run(fail(held));
    if (how == "release") return b.run("SELECT release_activity_task(" + held + ")");
    lapse();
    return how == "claim" ? take(b) : sweep();
  }
  void afresh() {
    a.run("SELECT pg_advisory_unlock_all(); DELETE FROM sessions; DELETE FROM instances; DELETE FROM history; "
          "DELETE FROM inbox; DELETE FROM pokes; DELETE FROM claims");
  }
  std::vector<std::string> heard(Step& ear) {
    std::vector<std::string> all;
    for (const auto& [channel, payload] : ear.notifications()) all.push_back(channel.substr(schema.name().size() + 1) + " " + payload);
    return all;
  }
  std::string held;
};

TEST_F(Tasks, GoToWhoClaimsThemWithAllThatIsNeededAndTheResultGoesToTheRun) {
  c.run("LISTEN " + schema.name() + "_activity_task");
  queued();
  EXPECT_THAT(heard(c), ElementsAre(R"(activity_task {"queue": "gpu"})"));
  EXPECT_EQ(b.run("SELECT activity, input, attempt, key, instance_id, details, lease_us FROM claim_activity_tasks('gpu', 'w1', 5)"),
            R"(resize|{"w": 7}|1|i1:3:0|i1||3600000000)");
  EXPECT_EQ(c.run("SELECT instance_id, op, activity, queue, status, attempt, worker FROM activity_tasks"), "i1|3|resize|gpu|held|1|w1");
  EXPECT_EQ(b.run("SELECT count(*) FROM claim_activity_tasks('gpu', 'w2', 5)"), "0");
  EXPECT_EQ(b.run(complete(c.run("SELECT task_id || ', ' || token FROM tasks"))), "t");
  EXPECT_EQ(told(), R"(3|resize|{"result": 42, "status": "completed", "generation": 0})");
  EXPECT_EQ(counts({"tasks", "pokes"}), "0|1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Tasks, OfARunThatLostItsLeaseAreNotQueued) {
  leased();
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .token = 9, .tasks = {{3}}, .stops = {{3, false}}}})), "1|f|f|[]");
  EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0");
}

TEST_F(Tasks, AreClaimedOldestFirstByQueueAndByName) {
  leased();
  a.run(commit(1, {{.id = "i1", .tasks = {{3, "resize"}, {4, "crop"}, {5, "resize"}, {6, "resize", "cpu"}}}}));
  const auto claimed = [&](const std::string& arguments) {
    return b.run("SELECT string_agg(key, ' ') FROM claim_activity_tasks(" + arguments + ")");
  };
  EXPECT_EQ(claimed("'tpu', 'w'"), "");
  EXPECT_EQ(claimed("'gpu', 'w', 1, NULL, '{crop,blur}'"), "i1:4:0");
  EXPECT_EQ(claimed("'gpu', 'w', 1"), "i1:3:0");
  EXPECT_EQ(claimed("'gpu', 'w', 10"), "i1:5:0");
  EXPECT_EQ(claimed("'cpu', 'w', 10"), "i1:6:0");
}

TEST_F(Tasks, ThatSomebodyIsClaimingAreLeftToHim) {
  queued();
  b.run("BEGIN");
  take(b);
  EXPECT_EQ(take(a), "");
  b.run("ROLLBACK");
  EXPECT_NE(take(a), "");
}

TEST_F(Tasks, ThatFailAreDueAgainAfterThePolicysPausesUntilTheAttemptsAreUsedUp) {
  queued(R"("first_ms": 60000, "max_ms": 90000)");
  c.run("LISTEN " + schema.name() + "_timer_expired");
  c.run("LISTEN " + schema.name() + "_activity_task");
  take(b);
  EXPECT_EQ(b.run(fail(held)), "t");
  EXPECT_THAT(heard(c), ElementsAre(StartsWith(R"(timer_expired {"timer_id": "task:3")"), StartsWith(R"(timer_expired {"timer_id": "task:3")")));
  EXPECT_EQ(take(b), "");
  EXPECT_EQ(c.run("SELECT round(next_task() / 1e6)"), "60");
  EXPECT_EQ(c.run("SELECT status, attempt, last_error FROM activity_tasks"), R"(waiting|1|{"type": "E", "attempt": 1, "message": "m"})");
  c.run("UPDATE tasks SET due_at = due_at - interval '1 minute'");
  EXPECT_EQ(sweep(), "i1|task:3");
  EXPECT_THAT(heard(c), ElementsAre(R"(activity_task {"queue": "gpu"})"));
  EXPECT_EQ(c.run("SELECT next_task()"), "");
  take(b);
  EXPECT_EQ(b.run(fail(held)), "t");
  EXPECT_EQ(c.run("SELECT round(next_task() / 1e6)"), "90");
  c.run("UPDATE tasks SET due_at = due_at - interval '90 s'");
  take(b);
  EXPECT_EQ(told(), "");
  EXPECT_EQ(b.run(fail(held, "'E', 'at last'")), "t");
  EXPECT_EQ(told(), R"(3|resize|{"error": {"type": "E", "attempt": 3, "message": "at last"}, "status": "failed", "generation": 0})");
  EXPECT_EQ(counts({"tasks"}), "0");
}

TEST_F(Tasks, ThatNoOtherAttemptCanHelpFailAtOnce) {
  for (const auto& [policy, rest] : std::vector<std::pair<std::string, std::string>>{
           {"", "'Never', 'm'"}, {"", "'E', 'm', false"}, {R"("attempts": 1)", "'E', 'm'"}, {R"("max_duration_ms": 5)", "'E', 'm'"}}) {
    queued(policy);
    take(b);
    EXPECT_EQ(b.run(fail(held, rest)), "t");
    EXPECT_THAT(told(), HasSubstr(R"("attempt": 1, "message": "m"}, "status": "failed")")) << policy << rest;
    afresh();
  }
}

TEST_F(Tasks, OfPoliciesThatGoOnForEverHaveAPauseHoweverManyAttempts) {
  queued(R"("attempts": 0, "coefficient": 1000)");
  c.run("UPDATE tasks SET attempt = 1000000");
  take(b);
  EXPECT_EQ(b.run(fail(held)), "t");
  EXPECT_EQ(c.run("SELECT next_task() BETWEEN 900000 AND 1000000"), "t");
}

TEST_F(Tasks, WhoseHeartbeatsStayAwayAreDueAgainAtOnceAndTheLateCompletionChangesNothing) {
  queued();
  take(b, ", 1, '10 s'");
  EXPECT_EQ(c.run("SELECT round(next_task() / 1e6)"), "10");
  const std::string late = held;
  EXPECT_EQ(b.run(heartbeat(late, R"('{"page": 3}')")), "ok");
  EXPECT_EQ(b.run(heartbeat(late)), "ok");
  lapse();
  c.run("LISTEN " + schema.name() + "_activity_task");
  EXPECT_EQ(sweep(), "i1|task:3");
  EXPECT_THAT(heard(c), ElementsAre(R"(activity_task {"queue": "gpu"})"));
  EXPECT_EQ(b.run(heartbeat(late)), "lost");
  EXPECT_EQ(a.run("SELECT attempt, details FROM claim_activity_tasks('gpu', 'w2')"), R"(2|{"page": 3})");
  EXPECT_EQ(b.run(complete(late)), "f");
  EXPECT_EQ(b.run(fail(late)), "f");
  EXPECT_EQ(b.run("SELECT release_activity_task(" + late + ")"), "f");
  EXPECT_EQ(c.run("SELECT status, attempt, worker FROM activity_tasks"), "held|2|w2");
  EXPECT_EQ(c.run("SELECT last_error FROM tasks"),
            R"({"type": "HeartbeatTimedOut", "attempt": 1, "message": "w1 was not heard of for 10000 ms"})");
  EXPECT_EQ(told(), "");
}

TEST_F(Tasks, ThatLapsedGoToTheNextClaimWithoutASweepAndFailWhenTheirAttemptsAreUsedUp) {
  queued(R"("attempts": 2)");
  take(b);
  lapse();
  EXPECT_NE(take(b), "");
  lapse();
  EXPECT_EQ(take(b), "");
  EXPECT_THAT(told(), HasSubstr(R"({"type": "HeartbeatTimedOut", "attempt": 2, )"));
  EXPECT_EQ(counts({"tasks"}), "0");
}

TEST_F(Tasks, WhoseAttemptHasATimeOfItsOwnLoseItInSpiteOfHeartbeats) {
  queued(R"("timeout_ms": 60000, "attempts": 1)");
  take(b);
  EXPECT_EQ(c.run("SELECT round(next_task() / 1e6)"), "60");
  EXPECT_EQ(b.run(heartbeat(held)), "ok");
  EXPECT_EQ(c.run("SELECT round(next_task() / 1e6)"), "60");
  c.run("UPDATE tasks SET attempt_at = attempt_at - interval '60 s'");
  EXPECT_EQ(b.run(heartbeat(held)), "lost");
  c.run("UPDATE tasks SET due_at = due_at - interval '60 s'");
  sweep();
  EXPECT_THAT(told(), HasSubstr(R"({"type": "AttemptTimedOut", "attempt": 1, "message": "no result within 60000 ms"})"));
}

TEST_F(Tasks, GivenBackAreDueAtOnceAndTheAttemptDoesNotCount) {
  queued();
  take(b);
  EXPECT_EQ(b.run("SELECT release_activity_task(" + held + ")"), "t");
  EXPECT_EQ(b.run(complete(held)), "f");
  EXPECT_EQ(a.run("SELECT attempt FROM claim_activity_tasks('gpu', 'w2')"), "1");
}

// ------------------------------------------------------------------------------------------------------ taken back

TEST_F(Tasks, TakenBackBeforeAnybodyHadThemAreGone) {
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}, {4}}}}));
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .release = false, .stops = {{3, false}}}})), "1|t|f|[]");
  EXPECT_THAT(a.run(commit(1, {{.id = "i1", .release = false, .stops = {{4, true}}}})),
              HasSubstr(R"(12, 4, "resize", {"status": "withdrawn", "generation": 0})")) << "the answer itself says so";
  EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0");
}

TEST_F(Tasks, QueuedAndTakenBackInOneCommitAreGone) {
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}}, .stops = {{3, false}}}}));
  EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0");
}

TEST_F(Tasks, ThatNobodyWaitsForSeeItAtTheirHeartbeatAndTheirCompletionIsAnsweredFalse) {
  const std::map<std::string, std::string> answers{
      {"complete", "f"}, {"fail", "f"}, {"release", "t"}, {"claim", ""}, {"sweep", "i1|task:3"}};
  for (const auto& [end, answer] : answers) {
    leased();
    a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}}}}));
    take(b);
    a.run(commit(1, {{.id = "i1", .release = false, .stops = {{3, false}}}}));
    EXPECT_EQ(c.run("SELECT status FROM activity_tasks"), "cancelling");
    EXPECT_EQ(b.run(heartbeat(held)), "cancelled");
    EXPECT_EQ(end_by(end), answer) << end;
    EXPECT_EQ(told(), "") << end;
    EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0") << end;
    afresh();
  }
}

TEST_F(Tasks, OfACancelledWorkflowAreAskedToStopAreNotTriedAgainAndTheirEndIsTold) {
  const std::map<std::string, std::string> says{{"complete", R"("status": "completed")"}, {"fail", R"("type": "E")"},
                                                {"sweep", R"("HeartbeatTimedOut")"}, {"claim", R"("HeartbeatTimedOut")"}, {"release", R"("type": "Released")"}};
  for (const auto& [end, text] : says) {
    leased();
    a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}}}}));
    take(b);
    a.run(commit(1, {{.id = "i1", .release = false, .stops = {{3, true}}}}));
    a.run(commit(1, {{.id = "i1", .release = false, .stops = {{3, true}}}}));  // said again, after a crash
    EXPECT_EQ(b.run(heartbeat(held)), "cancelled");
    end_by(end);
    EXPECT_THAT(told(), HasSubstr(text)) << end;
    EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0") << end;
    afresh();
  }
}

TEST_F(Tasks, EndWithTheirInstanceAndWithItsGeneration) {
  for (const int status : {2, 7}) {
    leased();
    a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}, {4}}}}));
    take(b);
    a.run(commit(1, {{.id = "i1", .status = status, .history = {{9, 0, status == 7 ? 19 : 16, "", "{}"}}}}));
    EXPECT_EQ(c.run("SELECT op, status FROM activity_tasks"), "3|cancelling");
    EXPECT_EQ(b.run(complete(held)), "f");
    EXPECT_EQ(told(), "");
    EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0");
    EXPECT_EQ(invariants(), "");
    afresh();
  }
}

// ------------------------------------------------------------------------------------------ transactions that stay open

TEST_F(Tasks, AreCompletedTogetherWithWhatTheApplicationWrote) {
  queued();
  take(b);
  b.run("BEGIN");
  EXPECT_EQ(b.run(complete(held)), "t");
  b.run("ROLLBACK");
  EXPECT_EQ(told(), "");
  EXPECT_EQ(b.run(heartbeat(held)), "ok");
  b.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
  EXPECT_EQ(b.run(complete(held)), "t");
  b.run("COMMIT");
  EXPECT_THAT(told(), HasSubstr("completed"));
}

// The application completes in a transaction that stays open; meanwhile the run takes the task back, or ends.
TEST_F(Tasks, ThatAnOpenTransactionCompletesHoldUpNoCommitAndNoSweep) {
  for (const bool ends : {false, true}) {
    for (const std::string how : {"COMMIT", "ROLLBACK"}) {
      leased();
      a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}}}}));
      take(b);
      b.run("BEGIN");
      EXPECT_EQ(b.run(complete(held)), "t");
      if (ends) a.run(commit(1, {{.id = "i1", .status = 2, .history = {{9, 0, 16, "", "{}"}}}}));
      else a.run(commit(1, {{.id = "i1", .release = false, .stops = {{3, false}}}}));
      EXPECT_EQ(counts({"tasks", "task_stops"}), "1|1");
      EXPECT_EQ(sweep(), "");
      EXPECT_EQ(invariants(), "");
      b.run(how);
      EXPECT_EQ(b.run(heartbeat(held)), how == "ROLLBACK" ? "cancelled" : "lost");
      sweep();
      EXPECT_EQ(counts({"task_stops"}), "0");
      EXPECT_EQ(b.run(complete(held)), "f");
      EXPECT_EQ(counts({"tasks"}), "0");
      afresh();
    }
  }
}

TEST_F(Tasks, BrokenWithAnApplyThatWaitsACommitHangsOnTheApplication) {
  schema.patch("apply_task_stops", "ORDER BY t.task_id FOR UPDATE SKIP LOCKED", "ORDER BY t.task_id FOR UPDATE");
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}}}}));
  take(b);
  b.run("BEGIN");
  b.run(complete(held));
  a.send(commit(1, {{.id = "i1", .release = false, .stops = {{3, false}}}}));
  a.expect_blocked();
  b.run("COMMIT");
  a.collect();
}

// Claimed in a transaction that is rolled back after the run took the task back: nobody else is to do it.
TEST_F(Tasks, TakenBackWhileAClaimWasOpenAreGivenToNobody) {
  for (const bool wanted : {false, true}) {
    leased();
    a.run(commit(1, {{.id = "i1", .release = false, .tasks = {{3}}}}));
    b.run("BEGIN");
    take(b);
    a.run(commit(1, {{.id = "i1", .release = false, .stops = {{3, wanted}}}}));
    b.run("ROLLBACK");
    EXPECT_EQ(take(b), "");
    EXPECT_EQ(counts({"tasks", "task_stops"}), "0|0");
    EXPECT_EQ(told(), wanted ? R"(3|resize|{"status": "withdrawn", "generation": 0})" : "");
    afresh();
  }
}

TEST_F(Tasks, CompletedAtTheMomentOfTheSweepAreCompletedOrSweptAndNotBoth) {
  queued();
  take(b);
  lapse();
  c.run("BEGIN");
  EXPECT_EQ(sweep(), "i1|task:3");
  b.send(complete(held));
  b.expect_blocked();
  c.run("COMMIT");
  EXPECT_EQ(b.collect(), "f");
  EXPECT_EQ(told(), "");
  EXPECT_EQ(c.run("SELECT status, attempt FROM activity_tasks"), "waiting|1");
}

TEST_F(Tasks, RefuseBadInputByName) {
  queued();
  take(b);
  const std::vector<std::pair<std::string, std::string>> cases{
      {"claim_activity_tasks(NULL, 'w')", "22023 queue: must not be NULL"},
      {"claim_activity_tasks('gpu', '')", "22023 worker: must not be empty"},
      {"claim_activity_tasks('gpu', 'w', 0)", "22023 max: 0 is not in 1 .. 1000"},
      {"claim_activity_tasks('gpu', 'w', NULL)", "22023 max: NULL is not in 1 .. 1000"},
      {"claim_activity_tasks('gpu', 'w', 1, '0 s')", "22023 lease: 00:00:00 is not in 1 ms .. 366 days"},
      {"heartbeat_activity_task(NULL, 1)", "22023 task_id: must not be NULL"},
      {"heartbeat_activity_task(1, NULL)", "22023 token: must not be NULL"},
      {"heartbeat_activity_task(" + held + ", '1e400')", "22023 details: holds a number that does not fit a double"},
      {"complete_activity_task(" + held + ", NULL)", "22023 result: must not be NULL (the JSON null is 'null')"},
      {"fail_activity_task(" + held + ", '', 'm')", "22023 type: must not be empty"},
      {"fail_activity_task(" + held + ", 'E', NULL)", "22023 message: must not be NULL"},
      {"fail_activity_task(" + held + ", 'E', 'm', NULL)", "22023 retryable: must not be NULL"},
      {"release_activity_task(1, NULL)", "22023 token: must not be NULL"},
  };
  for (const auto& [call, says] : cases) EXPECT_EQ(b.error("SELECT " + call), says) << call;
  b.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
  EXPECT_EQ(b.error("SELECT claim_activity_tasks('gpu', 'w')"),
            "0A000 claim_activity_tasks: needs a READ COMMITTED transaction, this one is REPEATABLE READ");
  b.run("ROLLBACK");
  EXPECT_EQ(c.run("SELECT status FROM activity_tasks"), "held") << "nothing is half-applied";
}

TEST_F(Tasks, AClientMayServeThemAndReadNothingElse) {
  queued();
  b.run("SET ROLE " + schema.name() + "_client");
  take(b);
  EXPECT_EQ(b.run(heartbeat(held)), "ok");
  EXPECT_EQ(b.run(complete(held)), "t");
  EXPECT_EQ(b.run("SELECT count(*) FROM activity_tasks"), "0");
  EXPECT_THAT(b.error("SELECT count(*) FROM tasks"), StartsWith("42501"));
  EXPECT_THAT(b.error("SELECT expire_tasks(1)"), StartsWith("42501"));
}

// What a queue allows, and whose turn it is.
class LimitedTasks : public Tasks {
 protected:
  // Tasks of the queue 'gpu', in this lane: their keys are the name and a number.
  void add(const std::string& name, int count, const std::string& lane = "5") {
    c.run("INSERT INTO tasks (instance_id, op, generation, queue, lane, activity, key, policy) SELECT '" + name + "', n, 0, 'gpu', '" + lane +
          "', 'resize', '" + name + "' || n, '" +
          R"({"attempts": 9, "first_ms": 60000, "coefficient": 2, "max_ms": 60000, "jitter": 0, "max_duration_ms": 0, "non_retryable": [], )"
          R"("timeout_ms": 0, "heartbeat_ms": 3600000})" +
          "' FROM generate_series(1, " + std::to_string(count) + ") n");
  }
  static std::string claims(int max = 100, const std::string& what = "count(*)") {
    return "SELECT " + what + " FROM claim_activity_tasks('gpu', 'w', " + std::to_string(max) + ")";
  }
  std::string any_held() { return c.run("SELECT task_id || ', ' || token FROM tasks WHERE token IS NOT NULL LIMIT 1"); }
  void listen() {
    c.run("LISTEN " + schema.name() + "_activity_task");
    c.notifications();
  }
  const std::string hint = R"(activity_task {"queue": "gpu"})";
};

TEST_F(LimitedTasks, OfAPausedQueueAreNotGivenToAnybodyUntilItIsResumed) {
  add("t", 3);
  EXPECT_EQ(a.run(claims(1)), "1");
  EXPECT_EQ(a.run("SELECT pause_queue('gpu')"), "t");
  EXPECT_EQ(a.run(claims()), "0");
  EXPECT_EQ(b.run(heartbeat(any_held())), "ok") << "what is held goes on";
  EXPECT_EQ(b.run(complete(any_held())), "t");
  listen();
  EXPECT_EQ(a.run("SELECT resume_queue('gpu')"), "t");
  EXPECT_THAT(heard(c), ElementsAre(hint));
  EXPECT_EQ(a.run(claims()), "2");
}

TEST_F(LimitedTasks, AreHeldByNoMoreThanTheQueueAllowsAndTheNextIsGivenWhenOneEndsHoweverItDoes) {
  for (const std::string how : {"complete", "fail", "release", "claim", "sweep"}) {
    a.run("SELECT set_queue('gpu', concurrency => 2)");
    add("t", 5);
    EXPECT_EQ(a.run(claims(1)), "1");
    EXPECT_EQ(b.run(claims()), "1");
    EXPECT_EQ(b.run(claims()), "0");
    listen();
    held = any_held();
    if (how == "claim") {
      c.run("UPDATE tasks SET due_at = clock_timestamp() - interval '1 s' WHERE task_id = " + held.substr(0, held.find(',')));
    } else if (how == "sweep") {
      lapse();
      sweep();
    } else {
      end_by(how);
    }
    EXPECT_EQ(heard(c), how == "claim" ? std::vector<std::string>{} : std::vector{hint}) << how;
    EXPECT_EQ(b.run(claims()), how == "sweep" ? "2" : "1") << how;
    EXPECT_EQ(b.run(claims()), "0") << how;
    EXPECT_EQ(c.run("SELECT count(*) FROM activity_tasks WHERE status = 'held'"), "2") << how;
    c.run("DELETE FROM tasks");
  }
}

TEST_F(LimitedTasks, ThatSomebodyIsCompletingAreHeldUntilHeCommits) {
  a.run("SELECT set_queue('gpu', concurrency => 1)");
  add("t", 2);
  EXPECT_EQ(a.run(claims(1)), "1");
  lapse();
  a.run("BEGIN");
  EXPECT_EQ(a.run(complete(any_held())), "t");
  EXPECT_EQ(b.run(claims()), "0") << "its lease is over, but it may yet be completed";
  listen();
  a.run("COMMIT");
  EXPECT_THAT(heard(c), ElementsAre(hint));
  EXPECT_EQ(b.run(claims()), "1");
}

TEST_F(LimitedTasks, TwoClaimsAtOnceDoNotShareTheLastPlaceAndWhoFoundItLockedIsTold) {
  a.run("SELECT set_queue('gpu', concurrency => 2)");
  add("t", 3);
  a.run("BEGIN");
  EXPECT_EQ(a.run(claims(1)), "1");
  EXPECT_EQ(b.run(claims()), "0") << "it waits for nobody";
  listen();
  a.run("COMMIT");
  EXPECT_THAT(heard(c), ElementsAre(hint));
  EXPECT_EQ(b.run(claims()), "1");
  EXPECT_THAT(heard(c), ElementsAre(hint));
  EXPECT_EQ(b.run(claims()), "0");
  EXPECT_THAT(heard(c), IsEmpty()) << "who gets nothing wakes nobody";
}

TEST_F(LimitedTasks, BrokenWithoutTheLockOfTheQueueTheyShareIt) {
  schema.patch("open_task_queue", "q.name = $1 FOR NO KEY UPDATE SKIP LOCKED", "q.name = $1");
  a.run("SELECT set_queue('gpu', concurrency => 1)");
  add("t", 2);
  a.run("BEGIN");
  EXPECT_EQ(a.run(claims()), "1");
  EXPECT_EQ(b.run(claims()), "1");
  a.run("COMMIT");
}

TEST_F(LimitedTasks, OfAKeyAreHeldByNoMoreThanItMayHaveWhateverTheirPriority) {
  a.run("SELECT set_queue('gpu', key_concurrency => 2)");
  add("t", 3, "5k"), add("urgent", 2, "3k"), add("other", 1, "5o"), add("none", 4);
  EXPECT_EQ(a.run(claims(100, "string_agg(key, ' ' ORDER BY key)")), "none1 none2 none3 none4 other1 urgent1 urgent2");
  EXPECT_EQ(a.run(claims()), "0");
  EXPECT_EQ(b.run(complete(c.run("SELECT task_id || ', ' || token FROM tasks WHERE key = 'urgent1'"))), "t");
  EXPECT_EQ(a.run(claims(100, "string_agg(key, ' ')")), "t1");
}

TEST_F(LimitedTasks, AreGivenByPriorityAndWithinOneTheOldestOfAKeyFirst) {
  add("low", 1, "7"), add("normal", 2), add("high", 3, "3k"), add("most", 1, "1");
  std::string order;
  for (int n = 0; n < 7; ++n) order += a.run(claims(1, "key")) + " ";
  EXPECT_EQ(order, "most1 high1 high2 high3 normal1 normal2 low1 ");
}

TEST_F(LimitedTasks, OfOneKeyDoNotStarveThoseOfAnother) {
  add("flood", 300, "5a"), add("b", 2, "5b"), add("c", 2, "5c"), add("none", 2);
  EXPECT_EQ(a.run(claims(8, "string_agg(DISTINCT regexp_replace(key, '[0-9]', '', 'g'), ' ')")), "b c flood none") << "each its part";
  std::string got;
  for (int n = 0; n < 150 && got != "0"; ++n) {
    a.run(claims(1));
    got = c.run("SELECT count(*) FROM tasks WHERE token IS NULL AND lane <> '5a'");
  }
  EXPECT_EQ(got, "0") << "one at a time, too";
}

TEST_F(LimitedTasks, OfMoreKeysThanOneClaimLooksAtAllHaveTheirTurn) {
  for (int n = 100; n < 400; ++n) add("k" + std::to_string(n), 2, "5" + std::to_string(n));
  int left = 600;
  for (int n = 0; n < 100 && left > 0; ++n) {
    a.run(claims(50));
    left = std::stoi(c.run("SELECT count(*) FROM tasks WHERE token IS NULL"));
  }
  EXPECT_EQ(left, 0);
}

TEST_F(LimitedTasks, StandInTheLaneOfTheirInstance) {
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '{}', 'i1', priority => 2, key => 'k')");
  a.run(claim(1));
  a.run(commit(1, {{.id = "i1", .tasks = {{3}}}}));
  EXPECT_EQ(c.run("SELECT lane FROM tasks"), "3k");
}

TEST_F(LimitedTasks, HaveTheLimitForThemselvesAlsoWhenWorkflowsRunInAQueueOfThatName) {
  a.run(start_session(1));
  c.run("SELECT set_queue('gpu', concurrency => 1)");
  c.run("SELECT start_workflow('w', '{}', 'i1', queue => 'gpu')");
  EXPECT_EQ(a.run("SELECT count(instance_id) FROM claim_runs(1, ARRAY[route_id('gpu', 'w')], '{0}', 10, 100)"), "1");
  add("t", 2);
  EXPECT_EQ(b.run(claims()), "1");
}

}  // namespace
}  // namespace romancy::test
