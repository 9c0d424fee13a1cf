// What others read of an instance: its status value; and waiting for its end, in every order of a wait and a commit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

class Progress : public Storage {};

TEST_F(Progress, IsReplacedByEachCommitThatBringsOneAndStaysAfterTheEnd) {
  leased("i1");
  const std::string read = "SELECT progress FROM workflow_instances WHERE instance_id = 'i1'";
  EXPECT_EQ(c.run(read), "");
  a.run(commit(1, {{.id = "i1", .release = false, .progress = R"({"done": 1})"}}));
  EXPECT_EQ(c.run(read), R"({"done": 1})");
  a.run(commit(1, {{.id = "i1", .release = false}}));
  EXPECT_EQ(c.run(read), R"({"done": 1})");
  a.run(commit(1, {{.id = "i1", .release = false, .progress = "2"}}));
  EXPECT_EQ(c.run(read), "2");
  a.run(commit(1, {{.id = "i1", .status = 2, .progress = "\"end\""}}));
  EXPECT_EQ(c.run(read), "\"end\"");
  EXPECT_EQ(counts({"progress"}), "1");
}

TEST_F(Progress, OfARunThatLostItsLeaseIsNotWritten) {
  leased("i1");
  EXPECT_THAT(a.run(commit(1, {{.id = "i1", .token = 9, .progress = "1"}})), StartsWith("1|f|f"));
  EXPECT_EQ(counts({"progress"}), "0");
}

TEST_F(Progress, StaysOverANewGeneration) {
  leased("i1");
  a.run(commit(1, {{.id = "i1", .status = 7, .history = {{2, 0, 19, "", "1"}}, .progress = "1"}}));
  EXPECT_EQ(c.run("SELECT generation, progress FROM workflow_instances"), "1|1");
}

class Await : public Storage {
 protected:
  void SetUp() override {
    Storage::SetUp();
    leased("i1");
    b.run("LISTEN " + schema.name() + "_workflow_finished");
  }
  static Did ended(const std::string& id = "i1", int status = 2) {
    return {.id = id, .status = status, .history = {{10, 0, 14 + status, "", "42"}}};
  }
  static std::string await(const std::string& id = "i1") { return "SELECT * FROM await_workflow('" + id + "')"; }
  std::vector<std::string> told() {
    std::vector<std::string> payloads;
    for (auto& [channel, payload] : b.notifications()) payloads.push_back(payload);
    return payloads;
  }
  static constexpr auto kTold = R"({"instance_id": "i1"})";
};

TEST_F(Await, AWaitThatIsListedIsToldOfTheEndOnce) {
  EXPECT_EQ(b.run(await()), "running|||f");
  EXPECT_EQ(b.run(await()), "running|||t");
  EXPECT_EQ(b.run(await()), "running|||t");
  EXPECT_EQ(counts({"result_waits"}), "1");
  EXPECT_THAT(told(), IsEmpty());
  a.run(commit(1, {ended()}));
  EXPECT_THAT(told(), ElementsAre(kTold));
  EXPECT_EQ(b.run(await()), "completed|42||f");
  EXPECT_EQ(counts({"result_waits"}), "0");
}

TEST_F(Await, WhatNobodyWaitsForEndsInSilence) {
  a.run(commit(1, {ended()}));
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_EQ(b.run(await()), "completed|42||f");
  EXPECT_EQ(counts({"result_waits"}), "0");
}

TEST_F(Await, FailedAndCancelledAreEndsToo) {
  for (const int status : {3, 4}) {
    const std::string id = "x" + std::to_string(status);
    a.run(start(id));
    const std::string first = a.run(claim(1, "inbox -> 0 -> 0"));
    b.run(await(id)), b.run(await(id));
    a.run(commit(1, {{.id = id, .status = status, .history = {{1, 0, 14 + status, "", "{}"}}, .consumed = {std::stoll(first)}}}));
    EXPECT_THAT(told(), ElementsAre(R"({"instance_id": ")" + id + R"("})"));
    EXPECT_EQ(b.run(await(id)), status == 3 ? "failed||{}|f" : "cancelled||{}|f");
  }
}

TEST_F(Await, IsNotEndedByAParkedInstanceOrANewGeneration) {
  b.run(await()), b.run(await());
  a.run(commit(1, {{.id = "i1", .status = 7, .history = {{2, 0, 19, "", "1"}}}}));
  EXPECT_EQ(b.run(await()), "running|||t");
  a.run(claim(1));
  a.run(commit(1, {{.id = "i1", .token = 2, .status = 5, .note = "x"}}));
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_EQ(b.run(await()), "stuck|||t");
}

// The wait is entered, and committed, before the ending commit looks for waits: it is told.
TEST_F(Await, EnteredBeforeTheEndBegins) {
  b.run(await());
  a.run("BEGIN");
  a.run(commit(1, {ended()}));
  b.send(await());  // listed: waits for the commit that has the row
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "completed|42||f");
}

// The ending commit has looked for waits; the wait is entered before it commits. It is not told, so it has to look.
TEST_F(Await, EnteredWhileTheEndIsUnderWay) {
  a.run("BEGIN");
  a.run(commit(1, {ended()}));
  EXPECT_EQ(b.run(await()), "running|||f") << "the first call waits for nobody";
  b.send(await());
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "completed|42||f");
  EXPECT_EQ(counts({"result_waits"}), "0") << "and takes away what nobody else would";
}

// .. and at each of its statements: the gate stands behind its lock, before it looks for waits.
TEST_F(Await, EnteredBetweenTheLockOfTheEndAndItsLook) {
  schema.patch("commit_runs", "      PERFORM clear_inbox(v_ended);", "      PERFORM clear_inbox(v_ended); PERFORM stop_at('end');");
  Gate gate(schema, "end");
  a.send(commit(1, {ended()}));
  a.expect_blocked();
  EXPECT_EQ(b.run(await()), "running|||f");
  gate.open();
  a.collect();
  EXPECT_EQ(b.run(await()), "completed|42||f");
  EXPECT_THAT(told(), ElementsAre(kTold));
}

TEST_F(Await, AnEndThatIsRolledBackIsNone) {
  b.run(await());
  a.run("BEGIN");
  a.run(commit(1, {ended()}));
  b.send(await());
  b.expect_blocked();
  a.run("ROLLBACK");
  EXPECT_EQ(b.collect(), "running|||t");
  EXPECT_THAT(told(), IsEmpty());
  a.run(commit(1, {ended()}));
  EXPECT_THAT(told(), ElementsAre(kTold));
}

// What the lock is for: without it the wait is neither told nor does it see the end.
TEST_F(Await, WithoutTheLockAWaitIsLost) {
  schema.patch("await_workflow", "PERFORM FROM instances i WHERE i.instance_id = v_id FOR SHARE;", "");
  a.run("BEGIN");
  a.run(commit(1, {ended()}));
  b.run(await());
  EXPECT_EQ(b.run(await()), "running|||t") << "so it would sleep";
  a.run("COMMIT");
  EXPECT_THAT(told(), IsEmpty()) << "for ever";
}

// What the second call is for: in one transaction nobody has seen the wait when the row is let go.
TEST_F(Await, InOneTransactionAWaitIsNeverListed) {
  b.run("BEGIN");
  EXPECT_EQ(b.run(await()), "running|||f");
  EXPECT_EQ(b.run(await()), "running|||f");
  a.run(commit(1, {ended()}));
  EXPECT_EQ(b.run(await()), "completed|42||f");
  b.run("ROLLBACK");
}

TEST_F(Await, ATransactionThatStaysOpenHoldsUpNoWorker) {
  b.run(await());
  c.run("BEGIN");
  EXPECT_EQ(c.run(await()), "running|||t");
  EXPECT_EQ(a.run(commit(1, {ended()})), "1|t|t|[]");
  EXPECT_THAT(told(), ElementsAre(kTold));
  c.run("COMMIT");
}

TEST_F(Await, SeveralWaitForOne) {
  c.run(await());
  EXPECT_EQ(b.run(await()), "running|||t");
  EXPECT_EQ(c.run(await()), "running|||t");
  EXPECT_EQ(counts({"result_waits"}), "1");
}

TEST_F(Await, RefusesByName) {
  EXPECT_THAT(b.error(await("nobody")), StartsWith("22023 instance_id: there is no instance 'nobody'"));
  EXPECT_THAT(b.error(await("")), StartsWith("22023 instance_id: "));
  b.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
  EXPECT_THAT(b.error(await()), StartsWith("0A000 await_workflow: "));
  b.run("ROLLBACK");
}

}  // namespace
}  // namespace romancy::test
