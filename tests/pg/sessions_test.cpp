// Sessions: beginning, keeping, ending; the end against everything that may be under way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

class Sessions : public Storage {};

TEST_F(Sessions, ACommitUnderWayWinsAndTheEndFreesWhatIsLeft) {
  leased();
  a.run("BEGIN");
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .release = false, .history = {{2, 0, 14, "", "1"}}}})), "1|t|f|[]");
  b.send("SELECT end_session(1, true, false)");
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "1");
  EXPECT_EQ(c.run("SELECT count(*) FROM history"), "2");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Sessions, ACommitUnderWayThatReleasesLeavesTheEndNothing) {
  leased();
  a.run("BEGIN");
  a.run(commit(1, {{.id = "i1", .status = 2, .history = {{2, 0, 16, "", "1"}}}}));
  b.send("SELECT end_session(1, true, false)");
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "0");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox"), "0") << "no recover row for a finished instance";
}

TEST_F(Sessions, ACommitAfterTheEndIsNotAcceptedHoweverLate) {
  leased();
  b.run("BEGIN; SELECT end_session(1, true, false)");
  a.send(commit(1, {{.id = "i1", .history = {{2, 0, 14, "", "1"}}}}));
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(a.collect(), "1|f|f|[]");
  EXPECT_EQ(c.run("SELECT count(*) FROM history"), "1");
  EXPECT_EQ(c.run("SELECT kind, data FROM inbox"), "7|{\"crash\": true}");
}

TEST_F(Sessions, AHeartbeatThatComesFirstSavesTheSession) {
  a.run(start_session(1, "{}", "-1 second"));
  a.run("BEGIN; SELECT * FROM heartbeat_session(1, '1 hour', '{}')");
  b.send("SELECT end_session(1, true, true)");
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "");
  EXPECT_EQ(c.run("SELECT count(*) FROM sessions"), "1");
}

TEST_F(Sessions, AHeartbeatAfterTheEndSaysSo) {
  a.run(start_session(1));
  b.run("BEGIN; SELECT end_session(1, true, false)");
  a.send("SELECT * FROM heartbeat_session(1, '1 hour', '{}')");
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(a.collect(), "f|{}");
}

TEST_F(Sessions, OfTwoEndsOneFrees) {
  leased();
  b.run("BEGIN");
  EXPECT_EQ(b.run("SELECT end_session(1, true, false)"), "1");
  c.send("SELECT end_session(1, true, false)");
  c.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(c.collect(), "");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox"), "1");
}

TEST_F(Sessions, CrashesCountUntilTheRunMakesProgress) {
  leased();
  for (int session = 2; session <= 4; ++session) {
    b.run("SELECT end_session(" + std::to_string(session - 1) + ", true, false)");
    Step worker(schema);
    worker.run(start_session(session));
    EXPECT_EQ(worker.run(claim(session, "crashes")), std::to_string(session - 1));
  }
  b.run("SELECT end_session(4, false, false)");
  b.run(start_session(5));
  EXPECT_EQ(b.run(claim(5, "crashes, jsonb_array_length(inbox)")), "3|4") << "a lost connection is no crash";
}

// i1 has killed two workers; i2 is an innocent one that was there both times, i3 came later.
TEST_F(Sessions, WhoKilledTwoWorkersIsClaimedAloneAndTheOthersArePutBackForSomebodyElse) {
  leased();
  c.run("SELECT end_session(1, true, false)");
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2)), "i1|2") << "once proves nothing";
  c.run("SELECT end_session(2, true, false)");
  c.run(start("i2"));
  c.run(start("i3"));
  Step worker(schema), other(schema);
  worker.run(start_session(3));
  other.run(start_session(4));
  EXPECT_EQ(worker.run(claim(3, "instance_id, crashes")), "i1|2");
  EXPECT_EQ(other.run(claim(4, "instance_id, crashes")), "i2|0\ni3|0");
  EXPECT_EQ(worker.run(claim(3)), "");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Sessions, OfTwoSuspectsTheOneThatWasBegunLastIsBlamedAndTheyAreNeverClaimedTogether) {
  leased();
  c.run(start("i2"));
  a.run(claim(1));
  c.run("SELECT end_session(1, true, false)");
  b.run(start_session(2));
  b.run(claim(2));
  c.run("SELECT end_session(2, true, false)");
  Step worker(schema);
  worker.run(start_session(3));
  const std::string first = worker.run(claim(3, "instance_id"));
  const std::string second = worker.run(claim(3, "instance_id"));
  EXPECT_TRUE((first == "i1" && second == "i2") || (first == "i2" && second == "i1")) << first << " then " << second;
  EXPECT_EQ(worker.run(claim(3)), "");
  c.run("SELECT end_session(3, true, false)");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox WHERE data -> 'crash' = 'true' AND instance_id = '" + second + "'"), "3");
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox WHERE data -> 'crash' = 'true' AND instance_id = '" + first + "'"), "2");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Sessions, WhenASuspectKillsAgainItAloneIsBlamed) {
  leased();
  c.run("SELECT end_session(1, true, false)");
  b.run(start_session(2));
  b.run(claim(2));
  c.run("SELECT end_session(2, true, false)");
  c.run(start("i2"));
  Step worker(schema);
  worker.run(start_session(3));
  EXPECT_EQ(worker.run(claim(3, "instance_id")), "i1");
  EXPECT_EQ(worker.run(claim(3, "instance_id")), "i2");  // this worker has the two of them after all
  c.run("SELECT end_session(3, true, false)");
  EXPECT_EQ(c.run("SELECT instance_id, count(*) FILTER (WHERE data -> 'crash' = 'true') FROM inbox "
                  "GROUP BY 1 ORDER BY 1"),
            "i1|3\ni2|0");
}

TEST_F(Sessions, ANewSessionEndsItsFormerOnesWithoutACrash) {
  leased();
  EXPECT_EQ(b.run(start_session(2, "{1,77}")), c.run("SELECT route_id('default', 'w')") + "|default|w");
  EXPECT_EQ(c.run("SELECT session_id FROM sessions"), "2");
  EXPECT_EQ(b.run(claim(2, "instance_id, crashes")), "i1|0");
}

TEST_F(Sessions, TheJournalIsPackedAndNeverTooEarly) {
  leased("i1");
  for (int n = 2; n <= 5; ++n) {
    c.run(start("i" + std::to_string(n)));
    a.run(claim(1));
  }
  const std::string first = c.run("SELECT id FROM inbox WHERE instance_id = 'i2'");
  a.run(commit(1, {{.id = "i2", .consumed = {std::stoll(first)}}}));
  EXPECT_EQ(a.run("SELECT * FROM heartbeat_session(1, '1 hour', '{}')"), "t|{}");
  EXPECT_EQ(c.run("SELECT (SELECT string_agg(x, ',' ORDER BY x) FROM unnest(ids) x) FROM claims"), "i1,i3,i4,i5");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Sessions, AHeartbeatBesideAClaimKeepsItsJournalRow) {
  leased("i1");
  a.run(commit(1, {{.id = "i1"}}));
  c.run(tell("i1"));
  b.run("BEGIN");
  EXPECT_EQ(b.run(claim(1)), "i1|2");  // the session's other connection
  a.run("SELECT * FROM heartbeat_session(1, '1 hour', '{}')");
  b.run("COMMIT");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Sessions, AHeartbeatTellsWhichRunsShouldStop) {
  leased("i1");
  c.run(start("i2"));
  a.run(claim(1));
  c.run("SELECT cancel_workflow('i1', 'no more')");
  EXPECT_EQ(a.run("SELECT cancelled FROM heartbeat_session(1, '1 hour', '{i1,i2}')"), "{i1}");
  EXPECT_EQ(a.run("SELECT cancelled FROM heartbeat_session(1, '1 hour', '{i2}')"), "{}");
}

TEST_F(Sessions, ADeadConnectionIsReapedAtOnceAndALivingOneNever) {
  leased();
  b.run(start_session(2));
  EXPECT_EQ(c.run("SELECT * FROM reap_sessions(true)"), "");
  EXPECT_EQ(c.run("SELECT reap_session(1)"), "");
  a.disconnect();
  EXPECT_EQ(c.run("SELECT reap_session(1)"), "1");
  EXPECT_EQ(c.run("SELECT reap_session(1)"), "");
  EXPECT_EQ(b.run(claim(2, "instance_id, crashes")), "i1|1");
  EXPECT_EQ(b.run("SELECT * FROM reap_sessions(true)"), "") << "its own lock would let it in: it must not take it";
  b.disconnect();
  EXPECT_EQ(c.run("SELECT * FROM reap_sessions(false)"), "");
  EXPECT_EQ(c.run("SELECT * FROM reap_sessions(true)"), "2|worker|1");
}

TEST_F(Sessions, ExpiredSessionsAreReapedAndABusyOneIsLeftForTheNextSweep) {
  a.run(start_session(1, "{}", "-1 second"));
  b.run(start_session(2, "{}", "-1 second"));
  c.run(start("i1"));
  b.run("BEGIN; " + claim(2));
  EXPECT_EQ(c.run("SELECT * FROM reap_sessions(false)"), "1|worker|0");
  b.run("COMMIT");
  EXPECT_EQ(c.run("SELECT * FROM reap_sessions(false)"), "2|worker|1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Sessions, BadArgumentsAreRefusedByName) {
  const auto with = [](const std::string& arguments) { return "SELECT * FROM start_session(" + arguments + ")"; };
  EXPECT_EQ(a.error(with("0, 'w', 'resumer', '{}', '{}', '1 s', '{}'")), "22023 session_id: must be positive");
  EXPECT_EQ(a.error(with("1, 'w', 'resumer', '{q}', '{a,b}', '1 s', '{}'")),
            "22023 workflow_names: 2 names for 1 queues, they are pairs");
  EXPECT_THAT(a.error(with("1, 'w', 'cook', '{}', '{}', '1 s', '{}'")), testing::StartsWith("23514"));
  a.run(start_session(1));
  EXPECT_THAT(b.error(start_session(1)), testing::StartsWith("23505"));
}

TEST_F(Sessions, ASessionStartIsDurableAndAClaimNeedNotBe) {
  a.run("SET synchronous_commit = off; BEGIN");
  a.run(start_session(1));
  EXPECT_EQ(a.run("SHOW synchronous_commit"), "on");
  a.run("COMMIT; SET synchronous_commit = on; BEGIN");
  a.run(claim(1));
  EXPECT_EQ(a.run("SHOW synchronous_commit"), "off");
  a.run("COMMIT");
  a.run("SET synchronous_commit = off; BEGIN");
  a.run(commit(1, {}));
  EXPECT_EQ(a.run("SHOW synchronous_commit"), "on");
  a.run("COMMIT");
}

}  // namespace
}  // namespace romancy::test
