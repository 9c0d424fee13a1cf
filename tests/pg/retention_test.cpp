// Retention: what is over leaves whole and in small batches, and whoever comes late, or starts the same id again, loses
// nothing and gets nothing that was another's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Retention : public Storage {
 protected:
  // `id` has run in session 1 and ended.
  void finished(const std::string& id, int status = 2) {
    if (c.run("SELECT count(*) FROM sessions") == "0") a.run(start_session(1));
    a.run(start(id));
    end(id, a.run(claim(1, "lease_token")), status);
  }
  void end(const std::string& id, const std::string& token, int status = 2, std::int64_t seq = 1) {
    EXPECT_THAT(a.run(commit(1, {{.id = id, .token = std::stoll(token), .status = status,
                                  .history = {{seq, 0, 14 + status, "", "42"}}}})),
                StartsWith("1|t|t"));
  }
  void age(const std::string& id) {
    c.run("UPDATE instances SET finished_at = finished_at - interval '1 hour' WHERE instance_id = '" + id + "'");
  }
  static std::string remove(int status = 2, int most = 100, const std::string& older = "1 minute") {
    return "SELECT removed, more FROM remove_finished(" + std::to_string(status) + "::smallint, '" + older + "', " +
           std::to_string(most) + ")";
  }
  std::string ids() { return c.run("SELECT string_agg(instance_id, ',' ORDER BY instance_id) FROM instances"); }
  // Every table that names instances, but the pokes.
  std::string left_of(const std::string& id) {
    const std::string tables = c.run(
        "SELECT string_agg(format('SELECT %L AS t FROM %I WHERE %I = %L', c.table_name, c.table_name, c.column_name, '" + id +
        "'), ' UNION ALL ') FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) "
        "WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name NOT IN ('pokes', 'guard_notes') "
        "AND column_name IN ('instance_id', 'child_id', 'parent_id')");
    return c.run("SELECT coalesce(string_agg(DISTINCT t, ',' ORDER BY t), '') FROM (" + tables + ") x");
  }
};

TEST_F(Retention, TakesWhatHasFinishedThatWayLongEnoughAgoOldestFirstInBatches) {
  for (const std::string id : {"a", "b", "c", "young"}) finished(id);
  finished("failed", 3);
  finished("cancelled", 4);
  c.run(start("active"));
  for (const std::string id : {"a", "b", "c", "failed", "cancelled"}) age(id);
  EXPECT_EQ(b.run(remove(2, 2)), "2|t");
  EXPECT_EQ(ids(), "active,c,cancelled,failed,young");
  EXPECT_EQ(b.run(remove(2, 2)), "1|f");
  EXPECT_EQ(b.run(remove(3)), "1|f");
  EXPECT_EQ(b.run(remove(4)), "1|f");
  EXPECT_EQ(ids(), "active,young");
  EXPECT_EQ(b.run(remove(2)), "0|f");
  EXPECT_THAT(b.error("SELECT * FROM remove_finished(1::smallint, '0', 1)"), StartsWith("22023 status"));
  EXPECT_EQ(invariants(), "");
}

TEST_F(Retention, SaysWhenTheNextOneIsDue) {
  const std::string ahead = "SELECT ahead_us BETWEEN 3500000000 AND 3600000000 FROM remove_finished(2::smallint, '1 hour', 10)";
  a.run(start_session(1));
  EXPECT_EQ(b.run("SELECT removed, ahead_us FROM remove_finished(2::smallint, '1 hour', 10)"), "0|");
  finished("a");
  EXPECT_EQ(b.run(ahead), "t");
  finished("old");
  age("old");
  EXPECT_EQ(b.run(ahead), "t") << "of what is left";
  EXPECT_EQ(ids(), "a");
}

TEST_F(Retention, LeavesNoRowOfAnInstanceThatUsedEverything) {
  leased("p");
  const auto everything = [](std::int64_t seq, std::int64_t token, const std::string& child) {
    return Did{.id = "p", .token = token, .release = false, .history = {{seq, 1, 2, "x", "1"}},
               .timers = {{2, 1, 3600000000, ""}},
               .waits = {{4, "jobs"}},
               .subscriptions = {{"news", true}, {"jobs", true, 2}},
               .groups = {{"g", true}},
               .outbox = {"e" + child},
               .children = {{5, child}}};
  };
  a.run(commit(1, {everything(2, 1, "c1")}));
  a.run(tell("p", "mail"));
  const std::string mail = a.run("SELECT max(id) FROM inbox WHERE instance_id = 'p'");
  a.run(commit(1, {{.id = "p", .release = false, .seen = {std::stoll(mail)}}}));
  a.run(commit(1, {{.id = "p", .status = 7, .history = {{3, 0, 19, "", "{}"}}}}));
  EXPECT_EQ(a.run(claim(1, "instance_id")), "c1\np");
  a.run(commit(1, {everything(1, 2, "c2")}));
  a.run(commit(1, {{.id = "p", .token = 2, .status = 2, .history = {{2, 0, 16, "", "1"}}, .progress = "1"}}));
  c.run("INSERT INTO result_waits (instance_id) VALUES ('p')");  // entered while it ended, by a client that is gone
  EXPECT_EQ(left_of("p"), "former_generations,history,history_archive,instances,progress,result_waits") << "what is there to be removed";
  age("p");
  EXPECT_EQ(b.run(remove()), "1|f");
  EXPECT_EQ(left_of("p"), "");
  EXPECT_EQ(c.run("SELECT string_agg(event_id, ',' ORDER BY event_id) FROM outbox"), "ec1,ec2") << "the relay's";
  EXPECT_THAT(c.error("SELECT * FROM workflow_result('p')"), HasSubstr("there is no instance 'p'"));
  EXPECT_EQ(invariants(), "");
}

TEST_F(Retention, ThinsOutALongOneCallByCallItsOutputLast) {
  finished("long");
  c.run("INSERT INTO former_generations SELECT 'long', n FROM generate_series(-2, -1) n");
  c.run("UPDATE former_generations SET generation = generation + 2; UPDATE instances SET generation = 2");
  c.run("INSERT INTO history_archive SELECT 'long', n % 2, n, 1, 2, '', '{}', now() FROM generate_series(1, 2500) n");
  c.run("INSERT INTO history SELECT 'long', -n, 1, 2, '', '{}' FROM generate_series(1, 1500) n");
  age("long");
  finished("short");
  age("short");
  int calls = 0;
  for (std::string said = "0|t"; said != "0|f"; ++calls) {
    const auto before = std::stoi(c.run("SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM history_archive)"));
    said = b.run(remove(2, 10));
    const auto after = std::stoi(c.run("SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM history_archive)"));
    EXPECT_LE(before - after, 1001) << "rows a call";
    if (ids() == "long,short") {
      EXPECT_EQ(c.run("SELECT output FROM workflow_result('long')"), "42");
    }
    EXPECT_EQ(invariants(), "");
    ASSERT_LT(calls, 20);
  }
  EXPECT_EQ(ids(), "");
  EXPECT_EQ(left_of("long") + left_of("short"), "");
}

TEST_F(Retention, LeavesWhatSomebodyHasLockedAndWaitsForNobody) {
  for (const std::string id : {"a", "b"}) finished(id), age(id);
  c.run("BEGIN; SELECT 1 FROM instances WHERE instance_id = 'a' FOR UPDATE");
  EXPECT_EQ(b.run(remove(2, 1)), "1|t");
  EXPECT_EQ(b.run("SELECT removed, more, ahead_us < 0 FROM remove_finished(2::smallint, '1 minute', 1)"), "0|f|t");
  c.run("COMMIT");
  EXPECT_EQ(ids(), "a");
}

TEST_F(Retention, TwoSweepsSideBySideShareTheWork) {
  for (const std::string id : {"a", "b", "c", "d"}) finished(id), age(id);
  a.run("BEGIN");
  EXPECT_EQ(a.run(remove(2, 2)), "2|t");
  EXPECT_EQ(b.run(remove(2, 2)), "2|t");
  a.run("COMMIT");
  EXPECT_EQ(ids(), "");
}

// --- late-comers ---------------------------------------------------------------------------------------------------

TEST_F(Retention, WhatWasSentToOneThatWasActiveThenIsClearedByTheClaimThatMeetsItsPoke) {
  leased("p");
  c.run("BEGIN; " + tell("p"));
  c.run("SELECT cancel_workflow('p')");
  end("p", "1", 2, 2);
  EXPECT_EQ(b.run("SELECT remove_workflow('p')"), "t");
  c.run("COMMIT");
  EXPECT_EQ(counts({"inbox", "pokes"}), "2|2");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(counts({"inbox", "pokes"}), "0|0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Retention, PublishAndCancelOfOneThatIsGoneAreRefusedByName) {
  finished("p");
  EXPECT_EQ(b.run("SELECT remove_workflow('p')"), "t");
  EXPECT_THAT(c.error(tell("p")), StartsWith("22023 target_instance_id: there is no instance 'p'"));
  EXPECT_THAT(c.error("SELECT cancel_workflow('p')"), StartsWith("22023 instance_id: there is no instance 'p'"));
  EXPECT_EQ(counts({"inbox"}), "0");
}

TEST_F(Retention, AClaimThatMeetsARemovalUnderWayComesBack) {
  leased("p");
  a.run(tell("p"));
  end("p", "1", 2, 2);
  c.run("BEGIN; SELECT remove_workflow('p')");
  EXPECT_EQ(a.run(claim_summary(1, "skipped")), "1");
  c.run("COMMIT");
  EXPECT_EQ(a.run(claim_summary(1, "skipped")), "0");
  EXPECT_EQ(counts({"inbox", "pokes"}), "0|0");
}

// The claim has seen that its poke's instance is gone; then the id is started again; then the claim clears the inbox.
class StartedMeanwhile : public Retention {
 protected:
  void script() {
    leased("p");
    c.run("BEGIN; " + tell("p"));
    end("p", "1", 2, 2);
    b.run("SELECT remove_workflow('p')");
    c.run("COMMIT");
    schema.patch("claim_runs", "PERFORM clear_inbox(ARRAY(SELECT unnest(v_ids) EXCEPT SELECT unnest(v_more)), true)",
                 "PERFORM stop_at('gone'); PERFORM clear_inbox(ARRAY(SELECT unnest(v_ids) EXCEPT SELECT unnest(v_more)), true)");
    Gate gate(schema, "gone");
    a.send(claim(1));
    a.expect_blocked();
    b.run("SELECT start_workflow('w', '7', 'p')");
    gate.open();
    a.collect();
  }
};

TEST_F(StartedMeanwhile, ANewInstanceKeepsItsStart) {
  script();
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "instance_id, jsonb_path_query_array(inbox, '$[*][4]')")), "p|[1, 7]");
}

TEST_F(StartedMeanwhile, BrokenIfTheInstanceIsLookedForEarlierTheStartIsLost) {
  schema.patch("clear_inbox", "AND (NOT $2 OR (SELECT true FROM instances i WHERE i.instance_id = b.instance_id) IS NULL)", "");
  script();
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(c.run("SELECT status FROM instances"), "1") << "for ever";
}

TEST_F(Retention, AnOldPokeDoesNotLeadAnotherWorkerToWhoeverHasTheIdNow) {
  leased("p");
  c.run("BEGIN; " + tell("p"));
  end("p", "1", 2, 2);
  b.run("SELECT remove_workflow('p'), start_workflow('other', '{}', 'p')");
  b.run("SELECT * FROM start_session(2, 'worker', 'resumer', '{default}', '{other}', '1 hour', '{}')");
  const std::string claim_other = "SELECT instance_id, jsonb_path_query_array(inbox, '$[*][1]') FROM claim_runs(2, "
                                  "ARRAY[route_id('default', 'other')], '{0}', 10, 100) WHERE instance_id IS NOT NULL";
  EXPECT_EQ(b.run(claim_other), "p|[1]");
  b.run("SELECT end_session(2, false, false)");
  b.run("SELECT pg_advisory_unlock_all(); DELETE FROM pokes; DELETE FROM inbox");
  b.run("SELECT * FROM start_session(2, 'worker', 'resumer', '{default}', '{other}', '1 hour', '{}')");
  c.run("COMMIT");  // it comes with a poke of w's
  EXPECT_EQ(a.run(claim(1)), "") << "a worker that cannot run it";
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(b.run(claim_other), "p|[2]");
}

// --- a new life ----------------------------------------------------------------------------------------------------

TEST_F(Retention, WhoeverHasTheIdNextBeginsWithAGenerationAndTokensOfItsOwn) {
  leased("p");
  c.run("BEGIN; SELECT cancel_workflow('p')");
  a.run(commit(1, {{.id = "p", .status = 7, .history = {{2, 0, 19, "", "{}"}}}}));
  const std::string token = a.run(claim(1, "lease_token"));
  end("p", token);
  EXPECT_EQ(b.run("SELECT remove_workflow('p'), new_life()"), "t|2") << "it was 1";
  b.run("SELECT start_workflow('w', '7', 'p')");
  EXPECT_EQ(a.run(claim(1, "generation, first_generation, lease_token, inbox -> 0 -> 2, inbox -> 0 -> 4, fresh")),
            "2|2|" + std::to_string((std::int64_t{2} << 32) + 1) + "|2|7|f");
  EXPECT_EQ(c.run("SELECT generation FROM workflow_instances"), "0");
  // An activity of the former one that comes to its end now, and a commit.
  EXPECT_EQ(a.run("SELECT commit_activity(1, 'p', " + token + ", 9, 1, 2::smallint, 'x', '1')"), "f");
  EXPECT_EQ(a.run(commit(1, {{.id = "p", .token = std::stoll(token)}})), "1|f|f|[]");
  b.run(start("q"));
  EXPECT_EQ(b.run("SELECT generation FROM instances WHERE instance_id = 'q'"), "2") << "any id may be one that was used";
}

TEST_F(Retention, AStartAtOfANewLifeBeginsThatLife) {
  leased("worker");
  finished("p");
  b.run("SELECT remove_workflow('p')");
  b.run("SELECT start_workflow('w', '7', 'p', start_at => clock_timestamp() + interval '1 hour')");
  b.run("SELECT start_workflow('w', '8', 'q', start_at => clock_timestamp() + interval '1 hour')");
  b.run("SELECT start_workflow('w', '9', 'r', start_at => clock_timestamp() + interval '1 hour')");
  b.run("SELECT cancel_workflow('q')");
  a.run(commit(1, {{.id = "worker", .release = false, .cancels = {{"r", "x"}}}}));
  c.run("UPDATE deadlines SET expires_at = now() WHERE instance_id = 'p'");
  b.run("SELECT count(*) FROM fire_timers('{4}', 10)");
  EXPECT_EQ(c.run("SELECT instance_id, op, data FROM inbox WHERE kind = 1 ORDER BY 1"), "p|1|7\nq|1|8\nr|1|9");
}

TEST_F(Retention, AStartThatWaitsForARemovalBeginsTheNextLife) {
  finished("p");
  b.run("BEGIN; SELECT remove_workflow('p')");
  c.send("SELECT start_workflow('w', '7', 'p')");
  c.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(c.collect(), "p");
  EXPECT_EQ(a.run(claim(1, "generation, inbox -> 0 -> 2, lease_token >> 32")), "1|1|1");
}

TEST_F(Retention, AStartThatWaitsForARemovalThatRollsBackIsTheInstanceThatIsThere) {
  finished("p");
  b.run("BEGIN; SELECT remove_workflow('p')");
  c.send("SELECT start_workflow('w', '7', 'p')");
  c.expect_blocked();
  b.run("ROLLBACK");
  EXPECT_EQ(c.collect(), "p");
  EXPECT_EQ(c.run("SELECT status FROM workflow_result('p')"), "completed");
}

TEST_F(Retention, AChildThatWaitsForARemovalBeginsTheNextLife) {
  leased("p");
  finished("child");
  b.run("BEGIN; SELECT remove_workflow('child')");
  a.send(commit(1, {{.id = "p", .release = false, .children = {{3, "child", "7"}, {4, "another", "8"}}}}));
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(a.collect(), "1|t|f|[]");
  EXPECT_EQ(a.run(claim(1, "instance_id, generation, inbox -> 0 -> 2, lease_token >> 32")), "another|1|1|1\nchild|1|1|1");
}

TEST_F(Retention, AChildWhoseIdIsThatOfOneThatHasFinishedIsRefused) {
  leased("p");
  finished("child");
  EXPECT_THAT(a.run(commit(1, {{.id = "p", .children = {{3, "child"}}}})), HasSubstr("ChildRefused"));
}

// --- one by id, and start_workflow ---------------------------------------------------------------------------------

TEST_F(Retention, RemoveWorkflowRefusesWhoHasNotFinishedByNameAndSaysWhetherThereWasOne) {
  EXPECT_EQ(b.run("SELECT remove_workflow('nobody')"), "f");
  leased("p");
  EXPECT_THAT(b.error("SELECT remove_workflow('p')"), StartsWith("55000 instance_id: 'p' has not finished, it is running"));
  a.run(commit(1, {{.id = "p", .release = false, .history = {{2, 0, 1, "", ""}}}}));
  a.run(commit(1, {{.id = "p", .status = 5, .note = "mismatch"}}));
  EXPECT_THAT(b.error("SELECT remove_workflow('p')"), StartsWith("55000 instance_id: 'p' has not finished, it is stuck"));
  EXPECT_THAT(b.error("SELECT remove_workflow('')"), StartsWith("22023 instance_id"));
  finished("done");
  EXPECT_EQ(b.run("SELECT remove_workflow('done')"), "t");
  EXPECT_EQ(b.run("SELECT remove_workflow('done')"), "f");
  EXPECT_EQ(ids(), "p");
}

TEST_F(Retention, OfTwoThatRemoveOneTheSecondWaitsAndFindsNone) {
  finished("p");
  b.run("BEGIN; SELECT remove_workflow('p')");
  c.send("SELECT remove_workflow('p')");
  c.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(c.collect(), "f");
}

TEST_F(Retention, UnderAnOldSnapshotARemovalThatIsTooLateRaises40001) {
  finished("p");
  c.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
  b.run("SELECT remove_workflow('p')");
  EXPECT_THAT(c.error("SELECT remove_workflow('p')"), StartsWith("40001"));
  c.run("ROLLBACK");
}

class Reuse : public Retention {
 protected:
  static std::string again(const std::string& policy, const std::string& id = "p", const std::string& workflow = "w") {
    return "SELECT start_workflow('" + workflow + "', '7', '" + id + "', on_finished => '" + policy + "')";
  }
};

TEST_F(Reuse, OfAnActiveIdIsTheSameInstanceUnderEveryPolicyAndLocksNothing) {
  leased("p");
  for (const std::string policy : {"return", "refuse", "replace"}) {
    c.run("BEGIN");
    EXPECT_EQ(c.run(again(policy)), "p");
    a.run("SET lock_timeout = '20s'");
    EXPECT_EQ(a.run(commit(1, {{.id = "p", .release = false}})), "1|t|f|[]") << policy;
    c.run("COMMIT");
  }
  EXPECT_EQ(counts({"instances", "inbox"}), "1|0");
}

TEST_F(Reuse, OfAFinishedIdReturnsItRefusesItOrReplacesIt) {
  for (const int status : {2, 3, 4}) {
    const std::string id = "p" + std::to_string(status);
    const std::string word = status == 2 ? "completed" : status == 3 ? "failed" : "cancelled";
    finished(id, status);
    EXPECT_EQ(c.run("SELECT start_workflow('w', '7', '" + id + "')"), id) << "what it was without the argument";
    EXPECT_EQ(c.run(again("return", id)), id);
    EXPECT_EQ(c.run("SELECT status FROM workflow_result('" + id + "')"), word);
    EXPECT_THAT(c.error(again("refuse", id)), StartsWith("55000 instance_id: '" + id + "' has finished: " + word));
    EXPECT_THAT(c.error(again("replace", id, "another")), StartsWith("22023 instance_id: '" + id + "' is an instance of"));
    EXPECT_EQ(c.run(again("replace", id)), id);
    EXPECT_EQ(c.run("SELECT status FROM workflow_result('" + id + "')"), "running");
    EXPECT_EQ(c.run("SELECT count(*) FROM history WHERE instance_id = '" + id + "'"), "0");
    EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 -> 4")), id + "|7");
  }
  EXPECT_THAT(c.error(again("nonsense")), StartsWith("22023 on_finished"));
  EXPECT_EQ(invariants(), "");
}

TEST_F(Reuse, OfAFreeIdIsANewInstanceUnderEveryPolicy) {
  for (const std::string policy : {"return", "refuse", "replace"}) EXPECT_EQ(c.run(again(policy, policy)), policy);
  EXPECT_EQ(counts({"instances", "inbox"}), "3|3");
}

TEST_F(Reuse, AReplacementThatRollsBackLeavesTheFinishedOneAsItWas) {
  finished("p");
  c.run("BEGIN; " + again("replace"));
  c.run("ROLLBACK");
  EXPECT_EQ(c.run("SELECT status, output FROM workflow_result('p')"), "completed|42");
  EXPECT_EQ(counts({"inbox"}), "0");
}

TEST_F(Reuse, OfTwoThatReplaceOneTheSecondWaitsAndMeansTheNewOne) {
  finished("p");
  b.run("BEGIN; " + again("replace"));
  c.send(again("replace"));
  c.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(c.collect(), "p");
  EXPECT_EQ(counts({"instances", "inbox"}), "1|1");
}

TEST_F(Reuse, AReplacementThatStaysOpenHoldsUpNoWorker) {
  leased("other");
  for (const std::string id : {"p", "old"}) finished(id), age(id);
  c.run("BEGIN; " + again("replace"));
  for (Step* step : {&a, &b}) step->run("SET lock_timeout = '20s'");
  b.run(tell("other"));
  b.run("INSERT INTO pokes (route_id, lane, instance_id) VALUES (route_id('default', 'w'), '5', 'p')");
  EXPECT_EQ(a.run(claim_summary(1, "skipped")), "1");
  EXPECT_THAT(a.run(commit(1, {{.id = "other", .token = std::stoll(a.run("SELECT lease_token FROM instances WHERE instance_id = 'other'")),
                                .messages = {{"c", "1", "p"}}, .cancels = {{"p", "x"}}}})),
              StartsWith("1|t"));
  EXPECT_EQ(b.run(remove()), "1|f") << "old, and not p";
  a.run("SELECT end_session(1, true, false)");
  c.run("COMMIT");
  EXPECT_EQ(invariants(), "");
}

// --- the rest ------------------------------------------------------------------------------------------------------

TEST_F(Retention, FormerGenerationsLeaveAndTheInstanceStays) {
  leased("p");
  for (std::int64_t token = 1; token <= 3; ++token) {
    a.run(commit(1, {{.id = "p", .token = token, .status = 7, .history = {{9, 0, 19, "", "{}"}}}}));
    a.run(claim(1));
  }
  EXPECT_EQ(c.run("SELECT count(*) FROM former_generations"), "3");
  c.run("UPDATE former_generations SET ended_at = ended_at - interval '1 hour' WHERE generation < 2");
  c.run("INSERT INTO history_archive SELECT 'p', 1, 100 + n, 1, 2, '', '{}', now() FROM generate_series(1, 1500) n");
  const std::string sweep = "SELECT removed, more, ahead_us > 0 FROM remove_generations('1 minute', 10)";
  EXPECT_EQ(b.run(sweep), "1|t|f") << "a thousand rows a call";
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(b.run(sweep), "1|f|t");
  EXPECT_EQ(c.run("SELECT DISTINCT generation FROM workflow_history_archive"), "2");
  EXPECT_EQ(c.run("SELECT status, generation FROM workflow_instances"), "running|3");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Retention, EventsLeaveAfterTheirDeliveryOrTheirFailureAndNeverBefore) {
  for (const std::string id : {"delivered", "failed", "pending", "young"}) {
    c.run("SELECT add_outbox_event('t', 's', '1', '" + id + "')");
  }
  c.run("INSERT INTO sessions (session_id, worker, kind, routes, expires_at) VALUES (9, 'r', 'relay', '{}', 'infinity')");
  c.run("SELECT count(*) FROM claim_outbox(9, 10, '1 hour')");
  c.run("SELECT complete_outbox(9, '{delivered,young}', '{1,1}'), fail_outbox(9, 'failed', 1, 'no', NULL, true)");
  c.run("UPDATE outbox SET delivered_at = delivered_at - interval '1 hour', created_at = created_at - interval '1 day' WHERE event_id = 'delivered'");
  c.run("UPDATE outbox SET next_attempt_at = next_attempt_at - interval '1 hour' WHERE event_id <> 'young'");
  EXPECT_EQ(b.run("SELECT removed, more, ahead_us > 0 FROM remove_events(2::smallint, '1 minute', 10)"), "1|f|t");
  EXPECT_EQ(b.run("SELECT removed, more, ahead_us FROM remove_events(3::smallint, '1 minute', 10)"), "1|f|");
  EXPECT_EQ(c.run("SELECT string_agg(event_id, ',' ORDER BY event_id) FROM outbox"), "pending,young");
  EXPECT_THAT(b.error("SELECT * FROM remove_events(1::smallint, '0', 1)"), StartsWith("22023 status"));
}

TEST_F(Retention, QueuedMessagesLeaveOfEveryChannelOldestFirst) {
  for (const std::string channel : {"one", "two"}) {
    c.run("SELECT declare_channel('" + channel + "', 'competing')");
    for (int i = 1; i <= 3; ++i) c.run("SELECT publish('" + channel + "', '" + std::to_string(i) + "')");
  }
  c.run("UPDATE channel_queue SET created_at = created_at - interval '1 hour' WHERE data <> '3'");
  EXPECT_EQ(b.run("SELECT removed, more FROM remove_messages('1 minute', 3)"), "3|t");
  EXPECT_EQ(c.run("SELECT channel, data FROM channel_queue ORDER BY 1, 2"), "one|3\ntwo|2\ntwo|3");
  EXPECT_EQ(b.run("SELECT removed, more, ahead_us > 0 FROM remove_messages('1 minute', 3)"), "1|f|t");
  EXPECT_EQ(c.run("SELECT channel, data FROM channel_queue ORDER BY 1, 2"), "one|3\ntwo|3");
}

TEST_F(Retention, AMessageThatAMatcherHasInHandStays) {
  c.run("SELECT declare_channel('one', 'competing')");
  c.run("SELECT publish('one', '1')");
  c.run("UPDATE channel_queue SET created_at = created_at - interval '1 hour'");
  a.run("BEGIN; SELECT 1 FROM channel_queue FOR UPDATE");
  EXPECT_EQ(b.run("SELECT removed, more FROM remove_messages('1 minute', 3)"), "0|f");
  a.run("COMMIT");
  EXPECT_EQ(b.run("SELECT removed, more FROM remove_messages('1 minute', 3)"), "1|f");
}

}  // namespace
}  // namespace romancy::test
