// What an application's transaction holds up while it stays open: nothing of the workers', and of other applications'
// only what names the very same thing. A statement that would wait here fails, by a lock_timeout that is a hang guard.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::StartsWith;

// c is the application whose transaction stays open.
class OpenTransactions : public Storage {
 protected:
  Step other{schema};

  void SetUp() override {
    for (Step* step : {&a, &b, &other}) step->run("SET lock_timeout = '20s'");
  }
  static std::string serve(std::int64_t session, const std::string& workflows) {
    return "SELECT workflow_name FROM start_session(" + std::to_string(session) +
           ", 'worker', 'resumer', array_fill('default'::text, ARRAY[cardinality('" + workflows + "'::text[])]), '" +
           workflows + "', '1 hour', '{}')";
  }
  static std::string start_fresh(const std::string& id) { return "SELECT start_workflow('fresh', '{}', '" + id + "')"; }
  static std::string claim_fresh(std::int64_t session) {
    return "SELECT instance_id, workflow_name FROM claim_runs(" + std::to_string(session) +
           ", ARRAY[route_id('default', 'fresh')], '{0}', 100, 100) WHERE instance_id IS NOT NULL ORDER BY 1";
  }
};

class Routes : public OpenTransactions {};

TEST_F(Routes, TheFirstStartOfANameHoldsUpNeitherItsWorkersNorOtherStarts) {
  c.run("BEGIN; " + start_fresh("c1"));
  EXPECT_EQ(b.run(serve(2, "{fresh,w}")), "fresh\nw") << "a worker that serves it";
  EXPECT_EQ(other.run(start_fresh("o1")), "o1") << "another application";
  EXPECT_EQ(b.run(claim_fresh(2)), "o1|fresh");
  c.run("COMMIT");
  EXPECT_EQ(b.run(claim_fresh(2)), "c1|fresh");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Routes, AnOpenSessionOfAWorkerHoldsUpNeitherAnotherNorStarts) {
  a.run("BEGIN; " + serve(1, "{w,fresh}"));
  EXPECT_EQ(b.run(serve(2, "{fresh,w}")), "fresh\nw");
  EXPECT_EQ(other.run(start_fresh("o1")), "o1");
  a.run("ROLLBACK");
  EXPECT_EQ(b.run(claim_fresh(2)), "o1|fresh");
}

TEST_F(Routes, ANameThatTwoWroteDoublesNothing) {
  c.run("BEGIN; " + start_fresh("c1"));
  other.run(start_fresh("o1"));
  b.run(serve(2, "{fresh,fresh}"));
  c.run("COMMIT");
  ASSERT_EQ(c.run("SELECT count(*) FROM routes WHERE workflow_name = 'fresh'"), "2");
  EXPECT_EQ(c.run("SELECT instance_id, workflow_name, queue FROM workflow_instances ORDER BY 1"),
            "c1|fresh|default\no1|fresh|default");
  EXPECT_EQ(c.run("SELECT workflows FROM workers"), "{default/fresh}");
  EXPECT_EQ(b.run(claim_fresh(2)), "c1|fresh\no1|fresh");
  EXPECT_EQ(c.run("SELECT cancel_workflow('c1'), (SELECT status FROM workflow_result('c1'))"), "t|running");
  EXPECT_EQ(c.run(start_fresh("c1")), "c1");
  EXPECT_EQ(c.error("SELECT start_workflow('w', '{}', 'c1')"), "22023 instance_id: 'c1' is an instance of workflow 'fresh'");
  other.run(serve(3, "{fresh}"));
  EXPECT_EQ(c.run("SELECT count(*) FROM routes WHERE workflow_name = 'fresh'"), "2") << "who sees one writes none";
}

// Rows outlive the server and its version: what stands in a dump must be what is computed after the upgrade.
TEST_F(Routes, IdsAreComputedAndStayTheSameForEver) {
  EXPECT_EQ(a.run("SELECT route_id('default', 'w'), route_id('ab', 'c'), route_id('a', 'bc'), route_id('ö', 'ß')"),
            "478655685165708854|170840946283831858|240396454518806383|133735964972022240");
  EXPECT_EQ(a.run("SELECT min(r) > 0, max(r) <= 1::bigint << 60, count(DISTINCT r) "
                  "FROM (SELECT route_id('q' || n % 10, 'w' || n / 10) r FROM generate_series(1, 20000) n) x"),
            "t|t|20000");
}

TEST_F(Routes, TwoNamesWithOneIdAreRefusedByName) {
  a.run("INSERT INTO routes VALUES (route_id('default', 'w'), 'default', 'w'), (route_id('default', 'w'), 'q', 'twin')");
  const std::string refused = "22023 workflow_name: 'w' in queue 'default' has the route id of 'twin' in queue 'q', rename one";
  EXPECT_EQ(c.error(start("i1")), refused);
  EXPECT_EQ(b.error(start_session(2)), refused);
  EXPECT_EQ(counts({"instances", "sessions"}), "0|0");
}

// Each call of an application, in a transaction that stays open, beside each thing that workers and others do.
class Beside : public OpenTransactions, public testing::WithParamInterface<const char*> {
 protected:
  // %: what makes the ids of one application different from those of another.
  const std::vector<std::string> calls = {
      "start_workflow('w', '{}', 'new%')",
      "start_workflow('fresh', '{}', 'first%')",
      "start_workflow('w', '{}', 'later%', start_at => '2999-01-01')",
      "publish('news', '1')",
      "publish('jobs', '1')",
      "publish('c', '1', target_instance_id => 'waits')",
      "publish('c', '1', target_instance_id => 'runs')",
      "publish_to_group('team', 'c', '1')",
      "declare_channel('undeclared', 'competing')",
      "cancel_workflow('waits')",
      "cancel_workflow('runs')",
      "cancel_workflow('due')",
      "cancel_workflow('parked')",
      "retry_compensations('undoes')",
      "give_up_compensations('undoes')",
      "add_outbox_event('t', 's', '1', 'e%')",
      "add_outbox_event('t', 's', '1')",
      "(SELECT count(*) FROM workflow_instances)",
  };
  std::vector<std::string> workers_do;

  static std::string by(const std::string& who, std::string call) {
    for (auto at = call.find('%'); at != std::string::npos; at = call.find('%')) call.replace(at, 1, who);
    return "SELECT " + call;
  }

  void SetUp() override {
    OpenTransactions::SetUp();
    leased("waits");
    a.run(commit(1, {{.id = "waits",
                      .waits = {{5, "jobs"}},
                      .subscriptions = {{"news", true}, {"jobs", true, 2}},
                      .groups = {{"team", true}}}}));
    a.run(claim(1));  // its channel's poke
    b.run(start_session(2));
    for (const std::string id : {"parked", "undoes", "runs"}) {
      c.run(start(id));
      const std::string first = b.run(claim(2, "inbox -> 0 -> 0"));
      Did did{.id = id, .release = id != "runs", .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(first)}};
      if (id == "parked") did.status = 5, did.note = "mismatch: at op 3";
      if (id == "undoes") did.status = 6, did.note = "compensation refund failed";
      b.run(commit(2, {did}));
    }
    c.run("SELECT start_workflow('w', '{}', 'due', start_at => '2999-01-01'); UPDATE deadlines SET expires_at = now()");
    c.run(start("ready"));
    Step dead(schema);
    dead.run(start_session(3));
    dead.disconnect();

    const Did writes{.id = "runs",
                     .release = false,
                     .history = {{2, 1, 2, "act", "1"}},
                     .timers = {{1, 1, 1000, ""}},
                     .over = {0, 7},
                     .waits = {{5, "jobs"}},
                     .subscriptions = {{"news", true}, {"jobs", true, 2}, {"undeclared", true, 2, 3}},
                     .groups = {{"team", true}},
                     .messages = {{"jobs", "1", ""}, {"news", "1", ""}, {"c", "1", "waits"}, {"c", "1", "", "team"}},
                     .outbox = {"runs:4:0:event"}};
    Did ends{.id = "runs", .status = 2, .history = {{2, 0, 16, "", "1"}}};
    Did recurs{.id = "runs", .status = 7, .history = {{2, 0, 19, "", "1"}}};
    Did parks{.id = "runs", .status = 5, .note = "mismatch: at op 4"};
    workers_do = {
        claim(2), commit(2, {writes}), commit(2, {ends}), commit(2, {recurs}), commit(2, {parks}),
        "SELECT * FROM heartbeat_session(2, '1 hour', '{runs}')",
        "SELECT * FROM fire_timers('{1,2,3,4,5}', 100)",
        "SELECT * FROM reap_sessions(true)",
        "SELECT end_session(2, false, false)",
        "SELECT * FROM start_session(9, 'w', 'resumer', '{default,default}', '{w,fresh}', '1 hour', '{2}')",
        "SELECT * FROM claim_outbox(2, 10, '1 hour')",
        "SELECT resume_workflow('parked')",
        "SELECT * FROM workers; SELECT * FROM timers; SELECT * FROM channels; SELECT * FROM outbox_events",
        "SELECT * FROM workflow_result('waits'); SELECT * FROM workflow_instances; SELECT * FROM check_invariants()",
    };
  }

  // Does it in a transaction that is rolled back, so that the next finds what this one found.
  void does(Step& step, const std::string& sql) {
    SCOPED_TRACE("beside it: " + sql);
    step.run("BEGIN");
    step.run(sql);
    step.run("ROLLBACK");
  }
};

TEST_P(Beside, NothingOfWorkersOrOtherApplicationsWaitsForACallInAnOpenTransaction) {
  for (const auto& call : calls) {
    if (call.starts_with("declare") && GetParam() != std::string("READ COMMITTED")) continue;
    SCOPED_TRACE("open: " + call);
    c.run(std::string("BEGIN ISOLATION LEVEL ") + GetParam());
    c.run(by("C", call));
    for (const auto& sql : workers_do) does(b, sql);
    for (const auto& another : calls) does(other, by("O", another));
    c.run("ROLLBACK");
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, Beside, testing::Values("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"),
                         [](const auto& level) {
                           const std::string name = level.param;
                           return name == "SERIALIZABLE" ? "Serializable"
                                  : name == "REPEATABLE READ" ? "RepeatableRead" : "ReadCommitted";
                         });

// These wait, because their answer depends on whether the first transaction commits.
TEST_F(OpenTransactions, TheSameIdOrTheSameChannelMadeBroadcastWaitsForTheFirst) {
  c.run("SELECT declare_channel('jobs', 'competing')");
  for (const std::string call : {"start_workflow('w', '{}', 'i1')", "add_outbox_event('t', 's', '1', 'e1')",
                                 "declare_channel('jobs', 'broadcast')"}) {
    for (const char* end : {"ROLLBACK", "COMMIT"}) {
      c.run("BEGIN; SELECT " + call);
      if (end == std::string("ROLLBACK")) other.run("BEGIN");
      other.send("SELECT " + call);
      other.expect_blocked();
      c.run(end);
      other.collect();
      if (end == std::string("ROLLBACK")) other.run("ROLLBACK");
    }
  }
  EXPECT_EQ(counts({"instances", "inbox", "outbox", "competing_channels"}), "1|1|1|0");
}

TEST_F(OpenTransactions, ACancelBeforeStartAtLeavesTheInstanceToItsTimerAndToOthers) {
  a.run(start_session(1));
  c.run("SELECT start_workflow('w', '7', 'due', start_at => '2999-01-01')");
  c.run("BEGIN; SELECT cancel_workflow('due', 'first')");
  EXPECT_EQ(other.run("SELECT cancel_workflow('due', 'second')"), "t");
  EXPECT_EQ(a.run(claim(1, "jsonb_path_query_array(inbox, '$[*][1]'), inbox -> 0 -> 4")), "[1, 6]|7");
  other.run("UPDATE deadlines SET expires_at = now()");
  EXPECT_EQ(b.run("SELECT timer_id FROM fire_timers('{4}', 10)"), "start_at:0");
  EXPECT_EQ(a.run(commit(1, {{.id = "due", .status = 4, .history = {{1, 0, 1, "", "7"}}}})), "1|t|t|[]");
  c.run("COMMIT");
  EXPECT_EQ(a.run(claim(1)), "") << "and nothing is revived";
  EXPECT_EQ(counts({"deadlines", "inbox", "pokes"}), "0|0|0");
}

TEST_F(OpenTransactions, AnIdOfAWorkflowsEventIsRefusedToApplications) {
  EXPECT_THAT(c.error("SELECT add_outbox_event('t', 's', '1', 'i1:4:0:event')"),
              StartsWith("22023 event_id: 'i1:4:0:event' has the form"));
  for (const std::string id : {"i1:4:0", "2026-01-01T10:20:30", "4:0:event", "event"}) {
    EXPECT_EQ(c.run("SELECT add_outbox_event('t', 's', '1', '" + id + "')"), id);
  }
}

TEST_F(OpenTransactions, DeclarationsThatAgreeNeitherWaitNorRefuseWhoAgrees) {
  leased();
  c.run("BEGIN; SELECT declare_channel('jobs', 'competing')");
  other.run("SELECT declare_channel('jobs', 'competing')");
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"jobs", true, 2}}}})), "1|t|f|[]");
  b.run(start_session(2));
  b.run(start("i2"));
  b.run(claim(2));
  EXPECT_THAT(b.run(commit(2, {{.id = "i2", .subscriptions = {{"jobs", true}}}})), testing::HasSubstr("ChannelModeConflict"));
  c.run("COMMIT");
  EXPECT_EQ(c.run("SELECT mode, subscribers FROM channels"), "competing|1");
  EXPECT_EQ(c.error("SELECT declare_channel('jobs', 'broadcast')"), "55000 channel: 'jobs' is competing, and in use");
}

TEST_F(OpenTransactions, AnInstanceThatAPersonIsResumingDoesNotHoldUpAWorkersStart) {
  leased();
  a.run(commit(1, {{.id = "i1", .status = 5, .note = "mismatch: at op 3"}}));
  c.run("BEGIN; SELECT resume_workflow('i1')");
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2)), "");
  c.run("COMMIT");
  EXPECT_EQ(b.run(claim(2)), "i1|2");
}

}  // namespace
}  // namespace romancy::test
