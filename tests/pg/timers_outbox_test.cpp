// Timers fire once and revive nothing; outbox events are held by (session, attempt).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::StartsWith;

class Timers : public Storage {
 protected:
  static std::string fire(const std::string& kinds = "{1,2,3,4}") {
    return "SELECT instance_id, timer_id FROM fire_timers('" + kinds + "', 100)";
  }
};

TEST_F(Timers, ADueTimerEntersTheInboxAndPokes) {
  leased();
  a.run(commit(1, {{.id = "i1", .timers = {{1, 1, 0, ""}, {2, 2, 0, ""}, {3, 3, 0, ""}, {4, 1, 3600000000, ""}}}}));
  EXPECT_THAT(b.run("SELECT next_timer('{1,2}') <= 0, next_timer('{4}') IS NULL"), "t|t");
  EXPECT_EQ(b.run(fire()), "i1|sleep:1\ni1|timeout:2\ni1|retry:3");
  EXPECT_EQ(b.run("SELECT next_timer('{1,2,3,4}') BETWEEN 3000000000 AND 3600000000"), "t");
  EXPECT_EQ(a.run(claim(1, "(SELECT string_agg(concat(r -> 1, ':', r -> 2), ' ') FROM jsonb_array_elements(inbox) r)")),
            "3:1 4:2 5:3");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Timers, OnlyTheKindsAskedForFire) {
  leased();
  a.run(commit(1, {{.id = "i1", .timers = {{1, 1, 0, ""}, {2, 2, 0, ""}}}}));
  EXPECT_EQ(b.run(fire("{2}")), "i1|timeout:2");
}

TEST_F(Timers, TwoFirersNeverFireOneTimerTwice) {
  leased();
  a.run(commit(1, {{.id = "i1", .timers = {{1, 1, 0, ""}}}}));
  b.run("BEGIN");
  EXPECT_EQ(b.run(fire()), "i1|sleep:1");
  EXPECT_EQ(c.run(fire()), "") << "and does not wait";
  b.run("ROLLBACK");
  EXPECT_EQ(c.run(fire()), "i1|sleep:1") << "a firing that failed is made again";
  EXPECT_EQ(c.run("SELECT count(*) FROM inbox"), "1");
}

TEST_F(Timers, ATimerOfACancelledWorkflowDoesNotResumeIt) {
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .timers = {{1, 1, 0, ""}}}}));
  b.run("BEGIN");
  EXPECT_EQ(b.run(fire()), "i1|sleep:1") << "fired before the workflow ended";
  a.send(commit(1, {{.id = "i1", .status = 4, .history = {{2, 0, 18, "", "{}"}}}}));
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(a.collect(), "1|t|t|[]");
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(c.run("SELECT status FROM workflow_instances"), "cancelled");
  EXPECT_EQ(counts({"inbox", "pokes", "deadlines"}), "0|0|0");
}

TEST_F(Timers, ADeadlineWithoutAnActiveInstanceJustGoes) {
  leased();
  a.run(commit(1, {{.id = "i1", .status = 4, .history = {{2, 0, 18, "", "{}"}}}}));
  c.run("INSERT INTO deadlines VALUES ('i1', 1, 1, now()), ('gone', 1, 1, now())");
  EXPECT_EQ(c.run("SELECT count(*) FROM fire_timers('{1}', 10)"), "2");
  EXPECT_EQ(counts({"inbox", "pokes", "deadlines"}), "0|0|0");
}

TEST_F(Timers, AStartInTheFutureWaitsForItsTime) {
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '{\"n\": 1}', 'i1', start_at => now() + interval '1 hour')");
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(c.run("SELECT timer_id, kind FROM timers"), "start_at:0|start_at");
  EXPECT_EQ(c.run("SELECT status, input FROM workflow_instances"), "running|{\"n\": 1}");
  c.run("UPDATE deadlines SET expires_at = now()");
  EXPECT_EQ(b.run(fire()), "i1|start_at:0");
  EXPECT_EQ(a.run(claim(1, "inbox -> 0 -> 1, inbox -> 0 -> 4")), "1|{\"n\": 1}");
}

TEST_F(Timers, ACancelledStartBeginsAtOnceToBeTold) {
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '{\"n\": 1}', 'i1', start_at => now() + interval '1 hour')");
  EXPECT_EQ(c.run("SELECT cancel_workflow('i1', 'why')"), "t");
  EXPECT_EQ(a.run(claim(1, "inbox -> 0 -> 1, inbox -> 0 -> 4, inbox -> 1 -> 1, inbox -> 1 -> 4")),
            "1|{\"n\": 1}|6|{\"reason\": \"why\"}");
  a.run(commit(1, {{.id = "i1", .status = 4}}));
  EXPECT_EQ(c.run("SELECT count(*) FROM deadlines"), "0");
}

TEST_F(Timers, AStartThatACancelHasOvertakenIsNoTimerAnyMore) {
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '7', 'i1', start_at => now() + interval '1 hour')");
  c.run("SELECT start_workflow('w', '7', 'i2', start_at => now() + interval '1 hour')");
  c.run("SELECT cancel_workflow('i1', 'why')");
  EXPECT_EQ(c.run("SELECT instance_id, timer_id FROM timers"), "i2|start_at:0");
  // It is compensating, for as long as that takes.
  EXPECT_EQ(a.run(claim(1, "instance_id")), "i1");
  const std::string start = c.run("SELECT id FROM inbox WHERE kind = 1");
  a.run(commit(1, {{.id = "i1", .status = 6, .release = false, .history = {{1, 0, 1, "", "7"}}, .consumed = {std::stoll(start)}}}));
  EXPECT_EQ(c.run("SELECT count(*) FROM deadlines"), "2");
  EXPECT_EQ(c.run("SELECT instance_id, timer_id FROM timers"), "i2|start_at:0");
}

class Outbox : public Storage {
 protected:
  void SetUp() override {
    a.run("SELECT * FROM start_session(1, 'relay', 'relay', '{}', '{}', '1 hour', '{}')");
    b.run("SELECT * FROM start_session(2, 'relay', 'relay', '{}', '{}', '1 hour', '{}')");
    for (const std::string id : {"e1", "e2", "e3"}) c.run("SELECT add_outbox_event('t', 's', '{}', '" + id + "')");
  }
  static std::string take(int session, int max = 10) {
    return "SELECT event_id, attempt FROM claim_outbox(" + std::to_string(session) + ", " + std::to_string(max) +
           ", '1 hour')";
  }
};

TEST_F(Outbox, EventsAreTakenInOrderByOneRelay) {
  a.run("BEGIN");
  EXPECT_EQ(a.run(take(1, 2)), "e1|1\ne2|1");
  EXPECT_EQ(b.run(take(2)), "e3|1") << "not those in another's hand, and without waiting";
  a.run("COMMIT");
  EXPECT_EQ(b.run(take(2)), "");
  EXPECT_EQ(a.run("SELECT complete_outbox(1, '{e1,e2,e3}', '{1,1,1}')"), "2");
  EXPECT_EQ(c.run("SELECT event_id, status FROM outbox_events ORDER BY 1"), "e1|delivered\ne2|delivered\ne3|pending");
}

TEST_F(Outbox, OnlyTheHolderOfTheAttemptMaySayWhatBecameOfIt) {
  a.run(take(1));
  EXPECT_EQ(b.run("SELECT complete_outbox(2, '{e1}', '{1}')"), "0");
  EXPECT_EQ(a.run("SELECT complete_outbox(1, '{e1}', '{2}')"), "0");
  EXPECT_EQ(b.run("SELECT fail_outbox(2, 'e1', 1, 'no', '0', true)"), "f");
  EXPECT_EQ(a.run("SELECT fail_outbox(1, 'e1', 1, 'no', '0', false)"), "t");
  EXPECT_EQ(a.run("SELECT complete_outbox(1, '{e1}', '{1}')"), "0") << "that attempt is over";
  EXPECT_EQ(b.run(take(2)), "e1|2");
  EXPECT_EQ(b.run("SELECT fail_outbox(2, 'e1', 2, 'never', NULL, true)"), "t");
  EXPECT_EQ(c.run("SELECT status, attempt, last_error FROM outbox_events WHERE event_id = 'e1'"), "failed|2|never");
  EXPECT_EQ(b.run(take(2)), "");
}

TEST_F(Outbox, ADeadRelaysEventsAreDueAtOnceAndItsLateWordCountsNothing) {
  a.run(take(1));
  EXPECT_EQ(b.run(take(2)), "");
  EXPECT_EQ(c.run("SELECT end_session(1, true, false)"), "0");
  EXPECT_EQ(b.run(take(2)), "e1|2\ne2|2\ne3|2");
  EXPECT_EQ(a.run("SELECT complete_outbox(1, '{e1}', '{1}')"), "0");
  EXPECT_EQ(a.run(take(1)), "") << "its session is over";
}

TEST_F(Outbox, AClaimUnderWayIsSeenByTheEndOfItsSession) {
  a.run("BEGIN; " + take(1));
  c.send("SELECT end_session(1, true, false)");
  c.expect_blocked();
  a.run("COMMIT");
  c.collect();
  EXPECT_EQ(b.run(take(2)), "e1|2\ne2|2\ne3|2");
}

TEST_F(Outbox, EventsThatWaitForARetryHoldUpNobody) {
  a.run(take(1, 1));
  a.run("SELECT fail_outbox(1, 'e1', 1, 'no', '1 hour', false)");
  EXPECT_EQ(b.run(take(2, 1)), "e2|1");
  EXPECT_EQ(b.run("SELECT next_outbox() <= 0"), "t");
  EXPECT_EQ(b.run(take(2, 9)), "e3|1");
  EXPECT_EQ(b.run("SELECT next_outbox() BETWEEN 3000000000 AND 3600000000"), "t");
}

TEST_F(Outbox, TheSameEventTwiceIsOneEvent) {
  EXPECT_EQ(c.run("SELECT add_outbox_event('other', 's', '{}', 'e1')"), "e1");
  EXPECT_EQ(c.run("SELECT count(*), min(event_type) FROM outbox WHERE event_id = 'e1'"), "1|t");
  Step worker(schema);
  worker.run(start_session(3));
  c.run(start("i1"));
  worker.run(claim(3));
  worker.run(commit(3, {{.id = "i1", .release = false, .outbox = {"e1", "e9"}}}));
  EXPECT_EQ(c.run("SELECT count(*) FROM outbox"), "4");
}

TEST_F(Outbox, AnIdleClaimWritesNothing) {
  a.run(take(1));
  a.run("BEGIN; " + take(1));
  EXPECT_EQ(a.run("SELECT pg_current_xact_id_if_assigned() IS NULL"), "t");
  a.run("COMMIT");
}

}  // namespace
}  // namespace romancy::test
