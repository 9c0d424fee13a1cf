// The client API in the user's own transactions: every isolation level, savepoints, roll-backs, transactions that stay
// open beside everybody else's work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::IsEmpty;
using testing::StartsWith;

class Transactions : public Storage {
 protected:
  // Every function that writes, each of which succeeds on instance 'i1'.
  const std::vector<std::string> calls = {
      "start_workflow('w', '{}', 'new')",
      "start_workflow('w', '{}', 'later', start_at => '2999-01-01')",
      "publish('news', '1')",
      "publish('jobs', '1')",
      "publish('c', '1', target_instance_id => 'i1')",
      "publish_to_group('team', 'c', '1')",
      "declare_channel('fresh', 'competing')",
      "cancel_workflow('i1')",
      "add_outbox_event('t', 's', '1', 'e1')",
  };
  const std::vector<std::string> tables = {"instances", "inbox",          "pokes",         "deadlines",
                                           "outbox",    "channel_queue",  "deferred_messages", "competing_channels"};

  void SetUp() override {
    leased("i1");
    a.run(commit(1, {{.id = "i1",
                      .waits = {{5, "jobs"}},
                      .subscriptions = {{"news", true}, {"jobs", true, 2}},
                      .groups = {{"team", true}}}}));
    a.run(claim(1));  // it waits now, and nobody holds it
    b.run(start_session(2));
  }
  static std::string begin(const std::string& level) {
    return "BEGIN ISOLATION LEVEL " + level + "; SELECT pg_current_snapshot()";
  }
  // Somebody wakes it, and it completes.
  void completes(const std::string& id) {
    a.run(tell(id));
    const std::string token = b.run(claim(2, "lease_token"));
    b.run(commit(2, {{.id = id, .token = std::stoll(token), .status = 2}}));
    EXPECT_EQ(a.run("SELECT status FROM workflow_result('" + id + "')"), "completed");
  }
  void an_instance_that_joined_and_subscribed(const std::string& id) {
    a.run(start(id));
    const std::string first = a.run(claim(1, "inbox -> 0 -> 0"));
    a.run(commit(1, {{.id = id,
                      .consumed = {std::stoll(first)},
                      .waits = {{5, "jobs"}},
                      .subscriptions = {{"news", true}, {"jobs", true, 2}},
                      .groups = {{"team", true}}}}));
  }
};

class OldSnapshots : public Transactions, public testing::WithParamInterface<const char*> {};

TEST_P(OldSnapshots, EveryFunctionButADeclarationWorks) {
  for (const auto& call : calls) {
    c.run(begin(GetParam()));
    if (call.starts_with("declare")) EXPECT_THAT(c.error("SELECT " + call), StartsWith("0A000")) << call;
    else c.run("SELECT " + call);
    c.run("COMMIT");
  }
  EXPECT_EQ(invariants(), "");
}

TEST_P(OldSnapshots, AMessageReachesWhoeverIsThereWhenItIsSentOn) {
  c.run(begin(GetParam()));
  an_instance_that_joined_and_subscribed("young");
  c.run("SELECT publish('news', '\"broadcast\"', '{\"k\": 1}'), publish_to_group('team', 'c', '\"group\"'), "
        "publish('d', '\"direct\"', target_instance_id => 'young'), publish('jobs', '1'), publish('jobs', '2')");
  c.run("COMMIT");
  EXPECT_EQ(invariants(), "");
  b.run(claim(2));
  b.run(claim(2));  // the queue's own poke, if the first sent there
  EXPECT_EQ(c.run("SELECT instance_id, name, data, op, metadata FROM inbox WHERE kind = 2 AND instance_id = 'young' "
                  "ORDER BY name"),
            "young|c|\"group\"|0|{}\nyoung|d|\"direct\"|0|{}\nyoung|jobs|2|5|{}\nyoung|news|\"broadcast\"|0|{\"k\": 1}");
  EXPECT_EQ(c.run("SELECT name, data, message_id FROM inbox WHERE kind = 2 AND instance_id = 'i1' ORDER BY name"),
            "c|\"group\"|2\njobs|1|4\nnews|\"broadcast\"|1");
  EXPECT_EQ(counts({"deferred_messages", "channel_queue", "channel_waits"}), "0|0|0");
  EXPECT_EQ(invariants(), "");
}

TEST_P(OldSnapshots, ATargetThatIsUnknownOrFinishedByThenIsDropped) {
  c.run(begin(GetParam()));
  EXPECT_EQ(c.run("SELECT publish('c', '1', target_instance_id => 'nobody') IS NOT NULL"), "t");
  EXPECT_EQ(c.run("SELECT publish('c', '2', target_instance_id => 'i1') IS NOT NULL"), "t");
  completes("i1");
  c.run("COMMIT");
  b.run(claim(2));
  EXPECT_EQ(counts({"deferred_messages", "inbox", "pokes"}), "0|0|0");
}

TEST_P(OldSnapshots, AStartSeesAnOlderInstanceAndIsToldToTryAgainOverAYoungerOne) {
  c.run(begin(GetParam()));
  b.run(start("young"));
  EXPECT_EQ(c.run(start("i1")), "i1");
  EXPECT_EQ(c.run(start("mine")), "mine");
  EXPECT_THAT(c.error(start("young")), StartsWith("40001"));
  c.run("ROLLBACK");
  EXPECT_EQ(c.run("BEGIN ISOLATION LEVEL " + std::string(GetParam()) + "; " + start("young")), "young");
  EXPECT_EQ(c.run(start("mine")), "mine");
  c.run("COMMIT");
  EXPECT_EQ(c.run("SELECT string_agg(instance_id, ' ' ORDER BY instance_id) FROM instances"), "i1 mine young");
  EXPECT_EQ(b.run(claim(2, "instance_id")), "mine\nyoung");
}

TEST_P(OldSnapshots, AStartOfANameThatSomebodyWasTheFirstToUseMeanwhileWorks) {
  c.run(begin(GetParam()));
  b.run("SELECT start_workflow('fresh', '{}', 'b1')");
  EXPECT_EQ(c.run("SELECT start_workflow('fresh', '{}', 'c1')"), "c1");
  c.run("COMMIT");
  EXPECT_EQ(c.run("SELECT instance_id, workflow_name FROM workflow_instances WHERE instance_id <> 'i1' ORDER BY 1"),
            "b1|fresh\nc1|fresh");
}

TEST_P(OldSnapshots, ACancelSpeaksOfWhatItsSnapshotShows) {
  c.run(begin(GetParam()));
  a.run(start("young"));
  EXPECT_EQ(c.error("SELECT cancel_workflow('young')"),
            "22023 instance_id: there is no instance 'young' that the snapshot of this transaction can see");
  c.run("ROLLBACK");
  a.run(claim(1));
  c.run(begin(GetParam()));
  completes("i1");
  EXPECT_EQ(c.run("SELECT cancel_workflow('i1')"), "t") << "it was running then";
  c.run("COMMIT");
  EXPECT_EQ(b.run(claim(2)), "") << "and nothing is revived";
  EXPECT_EQ(counts({"pokes"}), "0");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox WHERE instance_id = 'i1'"), "0");
  EXPECT_EQ(c.error("SELECT cancel_workflow('i1')"), "55000 instance_id: 'i1' has finished: completed");
}

TEST_P(OldSnapshots, PublishersSideBySideDoNotFailEachOther) {
  c.run(begin(GetParam()));
  b.run(begin(GetParam()));
  for (Step* step : {&c, &b}) {
    step->run("SELECT publish('news', '1'), publish('c', '1', target_instance_id => 'i1'), publish('jobs', '1')");
    step->run(step == &c ? start("x") : start("y"));
  }
  c.run("COMMIT");
  b.run("COMMIT");
  EXPECT_EQ(counts({"deferred_messages"}), "6");
  b.run(claim(2));
  EXPECT_EQ(counts({"deferred_messages"}), "0");
}

TEST_P(OldSnapshots, MessagesOfOneSessionOnOneChannelKeepTheirOrder) {
  c.run(begin(GetParam()));
  c.run("SELECT publish('news', n::text::jsonb) FROM generate_series(1, 300) n");
  c.run("COMMIT");
  EXPECT_EQ(b.run(claim_summary(2, "more")), "true");
  EXPECT_EQ(invariants(), "");
  b.run(claim(2));
  EXPECT_EQ(c.run("SELECT count(*), bool_and(data::text::int = n) FROM (SELECT data, row_number() OVER (ORDER BY id) n "
                  "FROM inbox WHERE kind = 2) x"),
            "300|t");
}

INSTANTIATE_TEST_SUITE_P(Levels, OldSnapshots, testing::Values("REPEATABLE READ", "SERIALIZABLE"),
                         [](const auto& level) { return std::string(level.param).substr(0, 10) == "REPEATABLE"
                                                            ? "RepeatableRead" : "Serializable"; });

TEST_F(Transactions, WhatIsRolledBackLeavesNothingAndAnnouncesNothing) {
  Step ear(schema);
  for (const char* kind : {"workflow_resumable", "timer_expired", "channel_message", "outbox_pending"})
    ear.run("LISTEN " + schema.name() + "_" + kind);
  const std::string before = counts(tables);
  for (const char* level : {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}) {
    for (const auto& call : calls) {
      if (call.starts_with("declare") && std::string(level) != "READ COMMITTED") continue;
      c.run(std::string("BEGIN ISOLATION LEVEL ") + level + "; SELECT " + call);
      c.run("ROLLBACK");
      c.run(std::string("BEGIN ISOLATION LEVEL ") + level + "; SAVEPOINT s");
      c.run("SELECT " + call);
      c.run("ROLLBACK TO s");
      EXPECT_EQ(c.run("SELECT 1"), "1") << call;
      c.run("COMMIT");
      EXPECT_EQ(counts(tables), before) << level << ": " << call;
    }
  }
  EXPECT_THAT(ear.notifications(), IsEmpty());
  EXPECT_EQ(c.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = " + std::to_string(c.pid())), "0");
}

TEST_F(Transactions, AReleasedSavepointCounts) {
  c.run("BEGIN; SAVEPOINT s; SELECT publish('jobs', '1'); RELEASE s; SAVEPOINT t; SELECT publish('jobs', '2')");
  c.run("ROLLBACK TO t; COMMIT");
  a.run(claim(1));
  EXPECT_EQ(c.run("SELECT op, data FROM inbox WHERE kind = 2"), "5|1");
}

TEST_F(Transactions, OneThatStaysOpenHoldsUpNobody) {
  for (const auto& call : calls) c.run((call == calls.front() ? "BEGIN; SELECT " : "SELECT ") + call);
  Step other(schema);
  // The same instance, others, the same channels and group; and what came of it is claimed and committed.
  other.run(tell("i1", "same"));
  other.run(start("another"));
  other.run("SELECT publish('news', '2'), publish_to_group('team', 'c', '2'), publish('jobs', '\"other\"')");
  EXPECT_EQ(b.run(claim(2)), "another|1\ni1|2");
  EXPECT_EQ(b.run(claim_summary(2, "skipped")), "0");
  EXPECT_EQ(other.run("SELECT count(*) FROM inbox WHERE instance_id = 'i1' AND kind = 2"), "4")
      << "the queue's message too";
  b.run(commit(2, {{.id = "another",
                    .release = false,
                    .waits = {{5, "jobs"}},
                    .subscriptions = {{"news", true}, {"jobs", true, 2}},
                    .groups = {{"team", true}}}}));
  EXPECT_EQ(other.run("SELECT * FROM check_invariants()"), "");
  c.run("COMMIT");
  EXPECT_EQ(invariants(), "");
  b.run(claim(2));
  EXPECT_EQ(c.run("SELECT instance_id, data FROM inbox WHERE name = 'jobs' ORDER BY 1"), "another|1\ni1|\"other\"");
}

}  // namespace
}  // namespace romancy::test
