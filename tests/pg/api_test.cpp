// The client API: what it refuses and how it says so, what it notifies, who may call it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

class Api : public Storage {};

TEST_F(Api, TwoConcurrentStartsOfOneIdGiveOneInstance) {
  a.run("BEGIN");
  EXPECT_EQ(a.run(start("i1")), "i1");
  b.send(start("i1"));
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect(), "i1");
  EXPECT_EQ(counts({"instances", "inbox", "pokes"}), "1|1|1");
}

TEST_F(Api, AStartThatRollsBackLeavesTheIdToTheOther) {
  a.run("BEGIN; " + start("i1"));
  b.send(start("i1"));
  b.expect_blocked();
  a.run("ROLLBACK");
  EXPECT_EQ(b.collect(), "i1");
  EXPECT_EQ(counts({"instances", "inbox", "pokes"}), "1|1|1");
}

TEST_F(Api, AStartWithoutAnIdIsANewInstanceEachTime) {
  EXPECT_EQ(a.run("SELECT start_workflow('w') <> start_workflow('w')"), "t");
  EXPECT_EQ(a.run("SELECT count(*) FROM instances WHERE instance_id ~ '^[0-9a-f-]{36}$'"), "2");
}

TEST_F(Api, BadArgumentsAreRefusedByName) {
  const std::string longest(255, 'x'), too_long(256, 'x');
  a.run(start("i1"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"start_workflow(NULL)", "22023 workflow_name: must not be NULL"},
      {"start_workflow('')", "22023 workflow_name: must not be empty"},
      {"start_workflow('" + too_long + "')", "22023 workflow_name: is 256 bytes long, at most 255 are allowed"},
      {"start_workflow(E'a\\nb')", "22023 workflow_name: must not contain control characters"},
      {"start_workflow('w', NULL)", "22023 input: must not be NULL (the JSON null is 'null')"},
      {"start_workflow('w', '{}', '')", "22023 instance_id: must not be empty"},
      {"start_workflow('w', '{}', 'i', NULL)", "22023 queue: must not be NULL"},
      {"start_workflow('w', priority => 5)", "22023 priority: 5 is not in -4 .. 4"},
      {"start_workflow('w', priority => -5)", "22023 priority: -5 is not in -4 .. 4"},
      {"start_workflow('w', priority => NULL)", "22023 priority: NULL is not in -4 .. 4"},
      {"start_workflow('w', key => '')", "22023 key: must not be empty"},
      {"start_workflow('w', start_at => 'infinity')", "22023 start_at: must be a moment in time"},
      {"start_workflow('other', '{}', 'i1')", "22023 instance_id: 'i1' is an instance of workflow 'w'"},
      {"publish('', '1')", "22023 channel: must not be empty"},
      {"publish('c', NULL)", "22023 data: must not be NULL (the JSON null is 'null')"},
      {"publish('c', '1', '[]')", "22023 metadata: must be a JSON object, not array"},
      {"publish('c', '1', target_instance_id => 'no')", "22023 target_instance_id: there is no instance 'no'"},
      {"publish('c', '1', target_instance_id => '')", "22023 target_instance_id: must not be empty"},
      {"cancel_workflow('no')", "22023 instance_id: there is no instance 'no'"},
      {"cancel_workflow(NULL)", "22023 instance_id: must not be NULL"},
      {"cancel_workflow('i1', repeat('x', 4097))", "22023 reason: is 4097 bytes long, at most 4096 are allowed"},
      {"workflow_result('no')", "22023 instance_id: there is no instance 'no'"},
      {"resume_workflow('no')", "22023 instance_id: there is no instance 'no'"},
      {"add_outbox_event('', 's', '1')", "22023 event_type: must not be empty"},
      {"add_outbox_event('t', NULL, '1')", "22023 event_source: must not be NULL"},
      {"add_outbox_event('t', 's', NULL)", "22023 data: must not be NULL (the JSON null is 'null')"},
      {"add_outbox_event('t', 's', '1', content_type => '')", "22023 content_type: must not be empty"},
  };
  for (const auto& [call, says] : cases) EXPECT_EQ(a.error("SELECT " + call), says) << call;
  EXPECT_EQ(a.run("SELECT count(*) FROM inbox"), "1") << "nothing is half-applied";
  EXPECT_EQ(a.run("SELECT start_workflow('" + longest + "', 'null', '" + longest + "', '" + longest + "')"), longest);
  EXPECT_THAT(a.error("SELECT start_workflow('w', to_jsonb(repeat('x', 17000000)))"), StartsWith("22023 input: is "));
}

TEST_F(Api, ASecondCancelIsHarmless) {
  a.run(start("i1"));
  EXPECT_EQ(a.run("SELECT cancel_workflow('i1', 'first'), cancel_workflow('i1', 'second')"), "t|t");
  EXPECT_EQ(a.run("SELECT data FROM inbox WHERE kind = 6"), "{\"reason\": \"first\"}");
}

// A publisher looks twice: for an active instance, then whether there is one at all. What begins in between is no finished one.
TEST_F(Api, AMessageToAnInstanceThatIsStartedWhileItIsPublishedArrives) {
  const std::string place = "SELECT i.status IN (1, 5, 6) INTO v_active";
  schema.patch("publish", place, "PERFORM stop_at('between');\n    " + place);
  Gate gate(schema, "between");
  a.send("SELECT publish('c', '1', target_instance_id => 'late') IS NOT NULL");
  a.expect_blocked();
  b.run(start("late"));
  gate.open();
  EXPECT_EQ(a.collect(), "t");
  EXPECT_EQ(b.run("SELECT count(*) FROM inbox WHERE instance_id = 'late' AND kind = 2"), "1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Api, ABroadcastReachesEverySubscriberThatWasThereAndNobodyElse) {
  leased("i1");
  c.run(start("i2"));
  a.run(claim(1));
  a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"news", true}}}}));
  a.run(commit(1, {{.id = "i2", .release = false, .subscriptions = {{"other", true}}}}));
  b.run("BEGIN; SELECT 1 FROM instances");  // an old transaction, but a new statement sees new subscribers
  a.run(commit(1, {{.id = "i2", .release = false, .subscriptions = {{"news", true}}}}));
  EXPECT_EQ(b.run("SELECT publish('news', '1', '{\"k\": 2}')"), "1");
  b.run("COMMIT");
  EXPECT_EQ(c.run("SELECT instance_id, kind, name, data, metadata, message_id FROM inbox WHERE kind = 2 ORDER BY 1"),
            "i1|2|news|1|{\"k\": 2}|1\ni2|2|news|1|{\"k\": 2}|1");
  EXPECT_EQ(c.run("SELECT publish('nobody', '1')"), "2");
}

class Hints : public Storage {
 protected:
  void SetUp() override {
    for (const char* kind : {"workflow_resumable", "timer_expired", "channel_message", "outbox_pending"})
      ear.run("LISTEN " + schema.name() + "_" + kind);
  }
  // What came, without the schema's prefix: "<kind> <payload>".
  std::vector<std::string> heard() {
    std::vector<std::string> all;
    for (const auto& [channel, payload] : ear.notifications())
      all.push_back(channel.substr(schema.name().size() + 1) + " " + payload);
    return all;
  }
  Step ear{schema};
};

TEST_F(Hints, LeaveWithTheCommitAndNeverWithoutIt) {
  a.run("BEGIN; " + start("i1"));
  EXPECT_THAT(heard(), IsEmpty());
  a.run("ROLLBACK");
  EXPECT_THAT(heard(), IsEmpty());
  a.run(start("i1"));
  const std::string resumable = R"(workflow_resumable {"instance_id": "i1", "workflow_name": "w"})";
  EXPECT_THAT(heard(), ElementsAre(resumable));
  a.run(start("i1"));
  EXPECT_THAT(heard(), IsEmpty()) << "nothing new began";
  a.run("SELECT cancel_workflow('i1'), cancel_workflow('i1')");
  EXPECT_THAT(heard(), ElementsAre(resumable));
}

TEST_F(Hints, SayWhatTheContractSays) {
  leased();
  a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"news", true}}}}));
  heard();
  const std::string resumable = R"(workflow_resumable {"instance_id": "i1", "workflow_name": "w"})";
  b.run("SELECT publish('c\"', '1', target_instance_id => 'i1')");
  EXPECT_THAT(heard(), UnorderedElementsAre(
      resumable, R"(channel_message {"message_id": 1, "channel_name": "c\"", "target_instance_id": "i1"})"));
  b.run("SELECT publish('news', '1')");
  EXPECT_THAT(heard(), UnorderedElementsAre(resumable, R"(channel_message {"message_id": 2, "channel_name": "news"})"));
  b.run("SELECT publish('empty', '1')");
  EXPECT_THAT(heard(), ElementsAre(R"(channel_message {"message_id": 3, "channel_name": "empty"})"));
  b.run("SELECT add_outbox_event('t', 's', '1', 'e1')");
  EXPECT_THAT(heard(), ElementsAre(R"(outbox_pending {"event_id": "e1"})"));
  b.run("SELECT start_workflow('w', '{}', 'i2', start_at => '2031-05-01 12:00:00.25+02')");
  EXPECT_THAT(heard(), ElementsAre(
      R"(timer_expired {"timer_id": "start_at:0", "expires_at": "2031-05-01T10:00:00.250000Z", "instance_id": "i2"})"));
  a.run(commit(1, {{.id = "i1",
                    .release = false,
                    .timers = {{3, 1, 0, "2031-05-01T10:00:00Z"}},
                    .messages = {{"x", "1", ""}},
                    .outbox = {"e2"}}}));
  EXPECT_THAT(heard(), UnorderedElementsAre(
      R"(timer_expired {"timer_id": "sleep:3", "expires_at": "2031-05-01T10:00:00.000000Z", "instance_id": "i1"})",
      R"(channel_message {"message_id": 4, "channel_name": "x"})", R"(outbox_pending {"event_id": "e2"})"));
  c.run("UPDATE deadlines SET expires_at = now() WHERE op = 3");
  c.run("SELECT * FROM fire_timers('{1}', 10)");
  EXPECT_THAT(heard(), ElementsAre(resumable));
  c.run("SELECT end_session(1, true, false)");
  EXPECT_THAT(heard(), ElementsAre(resumable));
}

TEST_F(Hints, OfTheLongestNamesFit) {
  const std::string quotes(255, '"');
  a.run("SELECT start_workflow('" + quotes + "', '{}', '" + quotes + "')");
  a.run("SELECT publish('" + quotes + "', '{}', target_instance_id => '" + quotes + "')");
  EXPECT_EQ(heard().size(), 3u);
}

TEST_F(Hints, AReleaseSendsNone) {
  leased();
  heard();
  a.run(commit(1, {{.id = "i1"}}));
  EXPECT_THAT(heard(), IsEmpty());
}

class Roles : public Storage {};

TEST_F(Roles, AClientMayCallTheApiAndReadTheViewsAndNothingElse) {
  a.run("SET ROLE " + schema.name() + "_client");
  a.run(start("i1"));
  a.run(tell("i1"));
  a.run("SELECT add_outbox_event('t', 's', '{}'), cancel_workflow('i1')");
  a.run("SELECT publish_to_group('g', 'c', '1'), declare_channel('jobs', 'competing'), binary(binary('x'::bytea))");
  EXPECT_THAT(a.error("SELECT retry_compensations('i1')"), StartsWith("55000"));
  EXPECT_THAT(a.error("SELECT give_up_compensations('i1')"), StartsWith("55000"));
  EXPECT_EQ(a.run("SELECT status FROM workflow_result('i1')"), "running");
  EXPECT_EQ(a.run("SELECT remove_workflow('i2')"), "f");
  for (const std::string view :
       {"workflow_instances", "workflow_history", "workflow_history_archive", "workflow_groups", "channels", "timers",
        "outbox_events", "workers", "schema_version"})
    a.run("SELECT * FROM " + view);
  for (const std::string table : {"instances", "inbox", "pokes", "history", "sessions", "outbox", "deadlines",
                                  "subscriptions", "claims", "routes", "stuck"})
    EXPECT_THAT(a.error("SELECT * FROM " + table), StartsWith("42501")) << table;
  for (const std::string& call : {start_session(1), claim(1), commit(1, {})})
    EXPECT_THAT(a.error(call), StartsWith("42501")) << call;
  for (const std::string call :
       {"end_session(1, true, false)", "send_message('c', '1', '{}', 'i1', NULL)", "hint('workflow_resumable', '{}')",
        "resume_workflow('i1')", "remove_finished(2::smallint, '0', 1)", "remove_instances('{i1}')", "new_life()", "claim_outbox(1, 1, '1 s')", "check_invariants()"})
    EXPECT_THAT(a.error("SELECT " + call), StartsWith("42501")) << call;
  EXPECT_THAT(a.error("DELETE FROM workflow_instances"), testing::AnyOf(StartsWith("42501"), StartsWith("55000")));
}

TEST_F(Roles, AWorkerMayDoAllAWorkerDoes) {
  for (Step* step : {&a, &b}) step->run("SET ROLE " + schema.name() + "_worker");
  leased();
  a.run(tell("i1"));
  a.run(commit(1, {{.id = "i1",
                    .release = false,
                    .history = {{2, 1, 8, "c", "{}"}},
                    .consumed = {2},
                    .timers = {{1, 1, 0, ""}, {2, 2, 3600000000, ""}},
                    .over = {2},
                    .subscriptions = {{"news", true}, {"old", false}},
                    .messages = {{"news", "1", ""}},
                    .outbox = {"e1"}}}));
  a.run("SELECT * FROM fire_timers('{1}', 10)");
  a.run("SELECT next_timer('{1}'), next_outbox(), read_history('i1'), read_seen(1, 'i1', 1, 'c', 0, 1)");
  a.run("SELECT * FROM heartbeat_session(1, '1 hour', '{i1}')");
  a.run("SELECT * FROM claim_outbox(1, 10, '0')");
  a.run("SELECT fail_outbox(1, 'e1', 1, 'x', '0', false)");
  a.run("SELECT * FROM claim_outbox(1, 10, '1 hour')");
  EXPECT_EQ(a.run("SELECT complete_outbox(1, '{e1}', '{2}')"), "1");
  a.run(commit(1, {{.id = "i1", .status = 5, .note = "mismatch"}}));
  EXPECT_THAT(b.run(start_session(2, "{1}")), EndsWith("|default|w"));
  EXPECT_EQ(b.run(claim(2, "instance_id")), "i1");
  b.run("SELECT * FROM reap_sessions(true)");
  b.run("SELECT reap_session(2), end_session(2, false, false), resume_workflow('i1')");
  b.run("SELECT start_workflow('new', '{}', queue => 'q'), cancel_workflow('i1'), publish('c', '1')");
  EXPECT_EQ(b.run("SELECT * FROM check_invariants()"), "");
  EXPECT_THAT(b.error("DELETE FROM instances"), StartsWith("42501"));
  EXPECT_THAT(b.error("DELETE FROM history"), StartsWith("42501"));
  EXPECT_THAT(b.error("CREATE TABLE x ()"), StartsWith("42501"));
}

TEST_F(Roles, NobodyElseMayDoAnything) {
  a.run("CREATE ROLE " + schema.name() + "_nobody; SET ROLE " + schema.name() + "_nobody");
  EXPECT_THAT(a.error("SELECT " + schema.name() + ".start_workflow('w')"), StartsWith("42501"));
  a.run("RESET ROLE; DROP ROLE " + schema.name() + "_nobody");
}

TEST_F(Roles, AClientsTemporaryTablesDoNotStandInForOurs) {
  a.run("SET ROLE " + schema.name() + "_client");
  a.run("CREATE TEMP TABLE instances (instance_id text PRIMARY KEY, route_id int)");
  a.run("SET search_path = pg_temp, " + schema.name());
  a.run(start("i1"));
  EXPECT_EQ(a.run("SELECT count(*) FROM pg_temp.instances"), "0");
  EXPECT_EQ(b.run("SELECT count(*) FROM instances"), "1");
}

}  // namespace
}  // namespace romancy::test
