// Storage: what whoever writes a worker relies on, by SQL alone: one instance an id, a lease that excludes others, a
// commit that is whole or nothing, and wake-ups for whoever is concerned. No process runs here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

using StorageScenario = Storage;

TEST_F(StorageScenario, AnInstanceIsThereAsSoonAsItIsStarted) {
  EXPECT_EQ(a.run(start("i1")), "i1");
  EXPECT_EQ(b.run("SELECT workflow_name, queue, status FROM workflow_instances"), "w|default|running");
  EXPECT_EQ(invariants(), "");
}

TEST_F(StorageScenario, TheSameIdTwiceIsOneInstanceWithOneStart) {
  a.run(start("i1"));
  b.run(start("i1"));
  EXPECT_EQ(c.run("SELECT count(*) FROM workflow_instances"), "1");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox"), "1");
  EXPECT_EQ(c.run("SELECT count(*) FROM pokes"), "1");
}

TEST_F(StorageScenario, NothingToDoGivesNothing) {
  a.run(start_session(1));
  EXPECT_EQ(a.run(claim(1)), "");
}

TEST_F(StorageScenario, WhatWasStartedIsClaimed) {
  a.run(start_session(1));
  a.run(start("i1"));
  EXPECT_EQ(a.run(claim(1, "instance_id, workflow_name")), "i1|w");
}

TEST_F(StorageScenario, AnInstanceOfAnotherQueueIsInvisible) {
  a.run(start_session(1));
  a.run("SELECT start_workflow('w', '{}', 'i1', 'elsewhere')");
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(c.run("SELECT queue FROM workflow_instances"), "elsewhere");
}

TEST_F(StorageScenario, WhatOneHoldsAnotherDoesNotGet) {
  leased();
  b.run(start_session(2));
  a.run(tell("i1"));
  EXPECT_EQ(b.run(claim(2)), "");
  EXPECT_EQ(c.run("SELECT session_id FROM instances"), "1");
}

TEST_F(StorageScenario, TwoWhoClaimAtOnceShareWithoutOverlap) {
  a.run(start_session(1));
  b.run(start_session(2));
  for (int i = 0; i < 20; ++i) c.run(start("i" + std::to_string(100 + i)));
  a.run("BEGIN");
  a.run(claim(1, "instance_id", "0", 10));
  const std::string second = b.run(claim(2, "instance_id", "0", 20));
  a.run("COMMIT");
  EXPECT_EQ(c.run("SELECT count(*) FROM instances WHERE session_id = 1"), "10");
  EXPECT_EQ(c.run("SELECT count(*) FROM instances WHERE session_id = 2"), std::to_string(std::count(second.begin(), second.end(), '\n') + (second.empty() ? 0 : 1)));
  EXPECT_EQ(invariants(), "");
}

TEST_F(StorageScenario, TheSameCommitTwiceIsNotAcceptedTheSecondTime) {
  leased();
  const Did end{.id = "i1", .status = 2, .history = {{2, 0, 16, "", "1"}}};
  EXPECT_THAT(a.run(commit(1, {end})), HasSubstr("1|t|t"));
  EXPECT_THAT(a.run(commit(1, {end})), HasSubstr("1|f|f"));
  EXPECT_EQ(c.run("SELECT count(*) FROM history"), "2");
}

TEST_F(StorageScenario, WhatACommitTellsIsInHistoryInOrder) {
  leased();
  a.run(commit(1, {{.id = "i1", .history = {{2, 1, 2, "charge", "{\"n\": 1}"}, {3, 2, 2, "ship", "2"}}}}));
  EXPECT_EQ(c.run("SELECT seq, op, kind, name, data FROM workflow_history WHERE seq > 1 ORDER BY seq"),
            "2|1|activity_completed|charge|{\"n\": 1}\n3|2|activity_completed|ship|2");
}

TEST_F(StorageScenario, AFinishedInstanceHasItsTimeAndItsResult) {
  leased();
  a.run(commit(1, {{.id = "i1", .status = 2, .history = {{2, 0, 16, "", "{\"total\": 9007199254740993}"}}}}));
  EXPECT_EQ(c.run("SELECT status, output, finished_at IS NOT NULL FROM workflow_instances"), "completed|{\"total\": 9007199254740993}|t");
  EXPECT_EQ(c.run("SELECT status, output FROM workflow_result('i1')"), "completed|{\"total\": 9007199254740993}");
}

TEST_F(StorageScenario, AMessageFromOneRunMakesTheOtherInstanceClaimable) {
  leased();
  c.run(start("i2"));
  b.run(start_session(2));
  const std::string first = b.run(claim(2, "inbox -> 0 -> 0"));
  b.run(commit(2, {{.id = "i2", .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(first)}}}));
  EXPECT_EQ(b.run(claim(2)), "");
  a.run(commit(1, {{.id = "i1", .messages = {{"mail", "1", "i2"}}}}));
  EXPECT_EQ(b.run(claim(2, "instance_id")), "i2");
}

TEST_F(StorageScenario, AMessageToNobodyIsRefused) { EXPECT_THAT(a.error(tell("nobody")), HasSubstr("22023 target_instance_id: ")); }

TEST_F(StorageScenario, ACancelOfNobodyIsRefused) { EXPECT_THAT(a.error("SELECT cancel_workflow('nobody')"), HasSubstr("22023 instance_id: ")); }

TEST_F(StorageScenario, ACancelIsTheLastThingTheNextLookSees) {
  a.run(start_session(1));
  a.run(start("i1"));
  a.run("SELECT cancel_workflow('i1', 'why')");
  EXPECT_EQ(a.run(claim(1, "inbox -> -1 ->> 1")), "6");
}

TEST_F(StorageScenario, ATimerRegisteredByACommitIsListedUntilItIsOver) {
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .history = {{2, 1, 5, "sleep", "null"}}, .timers = {{1, 1, 3'600'000'000, ""}}}}));
  EXPECT_EQ(c.run("SELECT timer_id, kind FROM timers"), "sleep:1|sleep");
  a.run(commit(1, {{.id = "i1", .history = {{3, 1, 6, "sleep", "null"}}, .over = {1}}}));
  EXPECT_EQ(c.run("SELECT count(*) FROM timers"), "0");
}

TEST_F(StorageScenario, HistoryCannotHaveTwoRowsOfOneNumber) {
  leased();
  EXPECT_THAT(a.error("INSERT INTO history (instance_id, seq, op, kind) VALUES ('i1', 1, 1, 2)"), HasSubstr("23505"));
}

TEST_F(StorageScenario, ADeadWorkersInstancesAreFreeAtOnce) {
  leased();
  b.run(start_session(2));
  b.run("SELECT end_session(1, true, false)");
  EXPECT_EQ(b.run(claim(2, "instance_id")), "i1");
  EXPECT_THAT(a.run(commit(1, {{.id = "i1", .status = 2, .history = {{2, 0, 16, "", "1"}}}})), HasSubstr("1|f|f")) << "the dead write nothing";
}

TEST_F(StorageScenario, TwoInstallationsInOneDatabaseDoNotWakeEachOther) {
  const Schema other;
  Step there(other);
  there.run("LISTEN " + other.name() + "_workflow_resumable");
  a.run("LISTEN " + schema.name() + "_workflow_resumable");
  b.run(start("i1"));
  EXPECT_EQ(a.notifications().size(), 1u);
  EXPECT_TRUE(there.notifications().empty());
  EXPECT_EQ(there.run("SELECT count(*) FROM instances"), "0");
}

TEST_F(StorageScenario, StartMessageAndEventOfOneTransactionAreAllThereOrNone) {
  for (const char* end : {"ROLLBACK", "COMMIT"}) {
    a.run("BEGIN");
    a.run(start("i1"));
    a.run(tell("i1"));
    a.run("SELECT add_outbox_event('paid', 'app', '1', 'e1')");
    a.run(end);
    const std::string wanted = std::string(end) == "COMMIT" ? "1|2|1" : "0|0|0";
    EXPECT_EQ(counts({"instances", "inbox", "outbox"}), wanted) << end;
  }
}

}  // namespace
}  // namespace romancy::test
