// Claims and commits: the fence, batches, what a release and a final status leave behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class Runs : public Storage {
 protected:
  void many(int count) {
    a.run(start_session(1));
    a.run("SELECT count(start_workflow('w', '{}', 'i' || lpad(n::text, 4, '0'))) FROM generate_series(1, " +
          std::to_string(count) + ") n");
    EXPECT_EQ(a.run("SELECT count(*) FROM claim_runs(1, " + kRoute + ", '{0}', " + std::to_string(count) + ", 100)"),
              std::to_string(count + 1));
  }
  // All `count` instances as one batch that consumes nothing and writes one history row each.
  static std::vector<Did> batch(int count) {
    std::vector<Did> runs;
    for (int n = 1; n <= count; ++n) {
      const std::string digits = std::to_string(n);
      runs.push_back({.id = "i" + std::string(4 - digits.size(), '0') + digits,
                      .release = false,
                      .history = {{1, 0, 1, "", "{}"}},
                      .timers = {{1, 1, 3600000000, ""}},
                      .subscriptions = {{"news", true}},
                      .outbox = {"e" + digits}});
    }
    return runs;
  }
};

TEST_F(Runs, AStaleTokenAnywhereInABatchChangesNothingAndCostsItsNeighboursNothing) {
  constexpr int kCount = 256;
  many(kCount);
  auto runs = batch(kCount);
  for (const int stale : {0, 127, 255}) runs[static_cast<std::size_t>(stale)].token = 7;
  EXPECT_EQ(a.run("SELECT run FROM (" + commit(1, runs) + ") r WHERE NOT accepted ORDER BY 1"), "1\n128\n256");
  for (const char* table : {"history", "deadlines", "subscriptions", "outbox"}) {
    EXPECT_EQ(a.run(std::string("SELECT count(*) FROM ") + table), "253") << table;
  }
  EXPECT_EQ(a.run("SELECT string_agg(instance_id, ',' ORDER BY 1) FROM instances i WHERE NOT EXISTS "
                  "(SELECT FROM history h WHERE h.instance_id = i.instance_id)"),
            "i0001,i0128,i0256");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Runs, TheRightTokenOfAnotherSessionChangesNothing) {
  leased();
  b.run(start_session(2));
  const std::string before = c.run("SELECT i.*, i.xmin FROM instances i");
  EXPECT_EQ(b.run(commit(2, {{.id = "i1", .status = 2, .history = {{2, 0, 16, "", "1"}}, .seen = {1}}})), "1|f|f|[]");
  EXPECT_EQ(c.run("SELECT i.*, i.xmin FROM instances i"), before);
  EXPECT_EQ(c.run("SELECT count(*) FROM history"), "1");
}

TEST_F(Runs, ALeaseIsNotReentrant) {
  leased();
  a.run(tell("i1"));
  EXPECT_EQ(a.run(claim(1)), "") << "not even to the session that holds it";
}

// Two batches in opposite order meet at a row in the middle that a third transaction holds for a moment.
class OppositeBatches : public Runs {
 protected:
  // How many of the two failed, each with a deadlock.
  int script() {
    many(64);
    auto runs = batch(64);
    for (auto& run : runs) run.history.clear(), run.timers.clear(), run.outbox.clear(), run.subscriptions.clear();
    const std::vector<Did> reversed(runs.rbegin(), runs.rend());
    Step holder(schema);
    holder.run("BEGIN; SELECT 1 FROM instances WHERE instance_id = 'i0032' FOR NO KEY UPDATE");
    b.send(commit(1, runs));
    b.expect_blocked();
    c.send(commit(1, reversed));
    c.expect_blocked();
    holder.run("COMMIT");
    return (b.collect_any().starts_with("40P01") ? 1 : 0) + (c.collect_any().starts_with("40P01") ? 1 : 0);
  }
};

TEST_F(OppositeBatches, AreLockedInIdOrderAndDoNotDeadlock) {
  EXPECT_EQ(script(), 0);
  EXPECT_EQ(invariants(), "");
}

TEST_F(OppositeBatches, BrokenInTheOrderTheyCameTheyDeadlock) {
  schema.patch("commit_runs", "ORDER BY x.id) l", ") l");
  EXPECT_EQ(script(), 1);
}

TEST_F(Runs, AFinalStatusLeavesNothingBehindAndIsNeverLeft) {
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .timers = {{1, 1, 0, ""}}, .subscriptions = {{"news", true}}}}));
  c.run(tell("i1"));
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .status = 2, .history = {{2, 0, 16, "", "{\"ok\": 1}"}}}})), "1|t|t|[]");
  for (const char* table : {"inbox", "deadlines", "subscriptions"}) {
    EXPECT_EQ(a.run(std::string("SELECT count(*) FROM ") + table), "0") << table;
  }
  EXPECT_EQ(a.run("SELECT * FROM workflow_result('i1')"), "completed|{\"ok\": 1}|");
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .status = 1, .history = {{3, 0, 1, "", "{}"}}}})), "1|f|f|[]");
}

TEST_F(Runs, AMessageForAFinishedInstanceRevivesNothing) {
  for (const int status : {2, 3, 4}) {
    const std::string id = "i" + std::to_string(status);
    a.run("DELETE FROM sessions; SELECT pg_advisory_unlock_all()");
    leased(id);
    b.run("BEGIN");
    b.run(tell(id));  // it was active when this statement looked
    a.run(commit(1, {{.id = id, .status = status, .history = {{2, 0, 14 + status, "", "{}"}}}}));
    b.run("COMMIT");
    EXPECT_EQ(c.run("SELECT publish('c', '1', target_instance_id => '" + id + "') IS NULL"), "t");
    EXPECT_EQ(c.run("SELECT publish('c', '1') IS NULL"), "f");
    if (status == 4) {
      EXPECT_EQ(c.run("SELECT cancel_workflow('" + id + "')"), "f");
    } else {
      EXPECT_EQ(c.error("SELECT cancel_workflow('" + id + "')"),
                "55000 instance_id: '" + id + "' has finished: " + (status == 2 ? "completed" : "failed"));
    }
    EXPECT_EQ(a.run(claim(1)), "");
    EXPECT_EQ(a.run("SELECT count(*) FROM inbox"), "0") << "the claim cleared what came late";
    EXPECT_EQ(a.run("SELECT count(*) FROM pokes"), "0");
  }
}

TEST_F(Runs, APokeWithoutAnInstanceGoesWithItsInbox) {
  a.run(start_session(1));
  a.run(start("i1"));
  a.run("DELETE FROM instances");  // retention
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(counts({"inbox", "pokes"}), "0|0");
}

TEST_F(Runs, ReadButLeftMessagesWakeNobodyAndAreFoundLater) {
  leased();
  c.run(tell("i1", "later"));
  c.run(tell("i1", "other"));
  EXPECT_THAT(a.run(commit(1, {{.id = "i1"}})), HasSubstr("\"later\""));
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .seen = {2, 3}}})), "1|t|t|[]") << "it lets go although they are there";
  EXPECT_EQ(invariants(), "");
  c.run(tell("i1", "wake"));
  EXPECT_EQ(a.run(claim(1, "lease_token, left_behind, jsonb_array_length(inbox), fresh, history")), "2|t|1|t|");
  EXPECT_THAT(a.run("SELECT read_seen(1, 'i1', 2, 'later', 0, 10)"), HasSubstr("[2, 2, 0, \"later\", 1, {}, 1]"));
  EXPECT_EQ(a.run("SELECT read_seen(1, 'i1', 2, 'later', 2, 10)"), "[]");
  EXPECT_EQ(a.run("SELECT read_seen(1, 'i1', 1, 'later', 0, 10)"), "") << "not with an old token";
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .token = 2, .consumed = {2, 3, 4}}})), "1|t|t|[]");
  EXPECT_EQ(a.run("SELECT count(*) FROM inbox"), "0");
}

TEST_F(Runs, AHotInboxComesInPieces) {
  leased();
  c.run("SELECT count(publish('c', '1', target_instance_id => 'i1')) FROM generate_series(1, 1000)");
  EXPECT_EQ(a.run("SELECT jsonb_array_length(inbox) FROM (" + commit(1, {{.id = "i1"}}, 100) + ") r"), "100");
  a.run("SELECT end_session(1, false, false)");
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2, "jsonb_array_length(inbox)")), "100");
}

TEST_F(Runs, OneHotInstanceDoesNotHideItsNeighbours) {
  leased("hot");
  c.run("SELECT count(publish('c', '1', target_instance_id => 'hot')) FROM generate_series(1, 3000)");
  c.run(start("cold"));
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2, "instance_id", "0", 1)), "cold") << "in one call, however small the appetite";
}

TEST_F(Runs, AClaimTakesNoMoreThanItWantsAndLosesNothing) {
  leased("hot");
  c.run("SELECT count(publish('c', '1', target_instance_id => 'hot')) FROM generate_series(1, 50)");
  c.run("SELECT count(start_workflow('w', '{}', 'n' || n)) FROM generate_series(1, 100) n");
  b.run(start_session(2));
  EXPECT_EQ(b.run("SELECT count(*) FROM claim_runs(2, " + kRoute + ", '{0}', 3, 100) WHERE instance_id IS NOT NULL"), "3");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(b.run("SELECT count(*) FROM claim_runs(2, " + kRoute + ", '{0}', 200, 100) WHERE instance_id IS NOT NULL"), "97");
}

TEST_F(Runs, AClaimThatHadToPutSomeBackSaysThatThereIsMore) {
  leased("hot");
  c.run("SELECT count(publish('c', '1', target_instance_id => 'hot')) FROM generate_series(1, 50)");
  c.run("SELECT count(start_workflow('w', '{}', 'n' || n)) FROM generate_series(1, 5) n");
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim_summary(2, "more", "0", 3)), "true") << "it took all pokes, and put two back";
  EXPECT_EQ(b.run("SELECT count(*) FROM claim_runs(2, " + kRoute + ", '{0}', 3, 100) WHERE instance_id IS NOT NULL"), "2");
}

TEST_F(Runs, AClaimTakesOnlyItsRoutesAndStarvesNone) {
  a.run("SELECT * FROM start_session(1, 'a', 'resumer', '{default,default}', '{v,w}', '1 hour', '{}')");
  c.run("SELECT count(start_workflow(x, '{}', x || n)) "
        "FROM generate_series(1, 100) n, unnest('{v,w,unserved}'::text[]) x");
  const std::string routes = "ARRAY[route_id('default', 'v'), route_id('default', 'w')]";
  const std::string half = "SELECT workflow_name, count(*) FROM claim_runs(1, " + routes + ", '{0,0}', 20, 100) "
                           "WHERE instance_id IS NOT NULL GROUP BY 1 ORDER BY 1";
  EXPECT_EQ(a.run(half), "v|10\nw|10");
  EXPECT_EQ(a.run("SELECT inbox -> 'more' FROM claim_runs(1, " + routes + ", '{0,0}', 1, 100) WHERE instance_id IS NULL"),
            "true");
  EXPECT_EQ(a.run("SELECT count(*) FROM pokes WHERE route_id = route_id('default', 'unserved')"), "100");
  EXPECT_EQ(a.run("SELECT inbox -> 'more' FROM claim_runs(1, " + routes + ", '{0,0}', 500, 100) WHERE instance_id IS NULL"),
            "false");
}

TEST_F(Runs, AnIdleClaimWritesNothing) {
  leased();
  EXPECT_EQ(a.run("BEGIN; " + claim_summary(1, "taken")), "0");
  EXPECT_EQ(a.run("SELECT pg_current_xact_id_if_assigned() IS NULL"), "t");
  a.run("COMMIT");
}

TEST_F(Runs, OnlyTheSameSessionsMemoryIsFresh) {
  leased();
  a.run(commit(1, {{.id = "i1"}}));
  c.run(tell("i1"));
  EXPECT_EQ(a.run(claim(1, "fresh, history")), "t|");
  EXPECT_EQ(a.run("SELECT read_history('i1')"), "[[1, 0, 1, null, {}]]");
  a.run(commit(1, {{.id = "i1", .token = 2, .consumed = {2}}}));
  b.run(start_session(2));
  c.run(tell("i1"));
  EXPECT_EQ(b.run(claim(2, "fresh, history")), "f|[[1, 0, 1, null, {}]]");
}

TEST_F(Runs, AStuckInstanceWaitsForAPersonAndThenGoesOn) {
  leased();
  c.run(tell("i1"));
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .status = 5, .note = "crashed 5 times"}})), "1|t|t|[]");
  EXPECT_EQ(invariants(), "");
  c.run(tell("i1"));
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(c.run("SELECT status, note FROM workflow_instances"), "stuck|crashed 5 times");
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2)), "") << "only a mismatch is tried again by a new program";
  EXPECT_EQ(c.run("SELECT resume_workflow('i1'), resume_workflow('i1')"), "t|f");
  EXPECT_EQ(b.run(claim(2, "instance_id, jsonb_array_length(inbox), crashes")), "i1|3|0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Runs, AMismatchGoesOnWithTheNextProgram) {
  leased();
  a.run(commit(1, {{.id = "i1", .status = 5, .note = "mismatch: op 3 was charge"}}));
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2)), "i1|2");
  EXPECT_EQ(c.run("SELECT status, note FROM workflow_instances"), "running|");
}

TEST_F(Runs, TheLastWordOnASubscriptionCountsAndTimersAreReplaced) {
  leased();
  a.run(commit(1, {{.id = "i1",
                    .release = false,
                    .timers = {{1, 3, 1000000, ""}, {2, 1, 0, "2031-05-01T10:00:00Z"}},
                    .subscriptions = {{"x", true}, {"x", false}, {"y", false}, {"y", true}}}}));
  EXPECT_EQ(a.run("SELECT channel FROM subscriptions"), "y");
  EXPECT_EQ(a.run("SELECT op, kind, expires_at > now() FROM deadlines ORDER BY op"), "1|3|t\n2|1|t");
  a.run(commit(1, {{.id = "i1", .release = false, .timers = {{1, 3, 3600000000, ""}}, .over = {1, 2}}}));
  EXPECT_EQ(a.run("SELECT op, expires_at > now() + interval '59 minutes' FROM deadlines"), "1|t");
}

TEST_F(Runs, AWorkflowsMessageToItselfKeepsItAwake) {
  leased();
  EXPECT_THAT(a.run(commit(1, {{.id = "i1", .messages = {{"c", "5", "i1"}, {"c", "6", "nobody"}, {"c", "7", ""}}}})),
              AllOf(testing::StartsWith("1|t|f|"), HasSubstr("\"c\", 5")));
}

TEST_F(Runs, ABadPayloadRefusesTheBatchAsADataErrorAndChangesNothing) {
  many(2);
  auto runs = batch(2);
  runs[1].history[0].data = "{not json";
  EXPECT_THAT(a.error(commit(1, runs)), testing::StartsWith("22P02"));
  EXPECT_EQ(a.run("SELECT count(*) FROM history"), "0");
}

TEST_F(Runs, OlderSnapshotsAreRefused) {
  a.run(start_session(1));
  for (const std::string& sql : {claim(1), commit(1, {}), std::string("SELECT end_session(1, true, false)"),
                                 std::string("SELECT * FROM fire_timers('{1}', 1)")}) {
    a.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    EXPECT_THAT(a.error(sql), testing::StartsWith("0A000"));
    a.run("ROLLBACK");
  }
}

}  // namespace
}  // namespace romancy::test
