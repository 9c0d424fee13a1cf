// Lifecycle: starting, input and output, ends, what views and the command line show.
#include <thread>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

THEME(Start);

TEST_P(Start, GivesBackTheIdItWasGiven) {
  EXPECT_EQ(start("echo", 1), mine("a"));
  expect_completed(mine("a"), 1);
}

TEST_P(Start, MakesARandomIdWhenItIsGivenNone) {
  const auto a = one("SELECT start_workflow('echo', '1')"), b = one("SELECT start_workflow('echo', '2')");
  EXPECT_NE(a, b);
  expect_completed(a, 1);
  expect_completed(b, 2);
}

TEST_P(Start, TwiceWithOneIdIsOneInstance) {
  const auto id = start("one_step", "first");
  EXPECT_EQ(start("one_step", "second"), id);
  expect_completed(id, "first");
  EXPECT_EQ(start("one_step", "third"), id);
  EXPECT_EQ(effects(id).size(), 1u);
}

TEST_P(Start, FromManyClientsAtOnceWithOneIdIsOneInstance) {
  const auto id = mine("a");
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(another());
  std::vector<std::thread> threads;
  for (auto& client : clients) threads.emplace_back([&client] { client->start("one_step", "once"); });
  for (auto& thread : threads) thread.join();
  expect_completed(id, "once");
  EXPECT_EQ(times(id, "once"), 1);
}

TEST_P(Start, WhileAnotherTransactionWithThatIdIsOpenWaitsForIt) {
  const auto other = another();
  other->sql("BEGIN");
  other->start("one_step", "other");
  const auto waits = another();
  const auto pid = waits->count("SELECT pg_backend_pid()");
  std::thread second([&waits] { waits->start("one_step", "mine"); });
  EXPECT_TRUE(eventually([&] { return count("SELECT cardinality(pg_blocking_pids($1::int))", pg::Params(pid)) == 1; }));
  other->sql("COMMIT");
  second.join();
  expect_completed(mine("a"), "other");
}

TEST_P(Start, AnIdOfAnotherWorkflowIsRefused) {
  const auto id = start("echo", 1);
  EXPECT_THAT(refused("SELECT start_workflow('nothing', '1', $1)", pg::Params(id)), HasSubstr("22023 instance_id: "));
  expect_completed(id, 1);
}

TEST_P(Start, RolledBackNeverHappened) {
  sql("BEGIN");
  const auto id = start("one_step", "never");
  sql("ROLLBACK");
  EXPECT_EQ(status(id), "");
  start("one_step", "really");
  expect_completed(id, "really");
  EXPECT_EQ(effects(id).size(), 1u);
}

TEST_P(Start, IsInvisibleUntilItsTransactionCommits) {
  const auto other = another();
  other->sql("BEGIN");
  other->start("echo", 1);
  expect_completed(start("echo", 2, "b"), 2);
  EXPECT_EQ(status(mine("a")), "");
  other->sql("COMMIT");
  expect_completed(mine("a"), 1);
}

TEST_P(Start, AHundredInOneTransaction) {
  sql("SELECT start_workflow('echo', to_jsonb(n), $1 || n) FROM generate_series(1, 100) n", pg::Params(mine("")));
  for (int i = 1; i <= 100; ++i) expect_completed(mine(std::to_string(i)), i);
}

TEST_P(Start, WithoutInputGetsAnEmptyObject) {
  const auto id = one("SELECT start_workflow('echo', instance_id => $1)", pg::Params(mine("a")));
  expect_completed(id, Json::object());
}

TEST_P(Start, OfAWorkflowThatNobodyServesWaits) {
  leaves_work();
  const auto id = start("nobody_serves_this", 1);
  expect_completed(start("echo", 1, "b"), 1);
  EXPECT_EQ(status(id), "running");
  EXPECT_TRUE(history(id).empty());
  cancel(id);
  const auto other = start("echo", 2, "c");
  expect_completed(other, 2);
  EXPECT_EQ(status(id), "running") << "nobody may run it, not even to cancel it";
}

TEST_P(Start, OnAQueueThatNobodyServesWaits) {
  leaves_work();
  const auto id = one("SELECT start_workflow('echo', '1', $1, queue => 'elsewhere')", pg::Params(mine("a")));
  expect_completed(start("echo", 1, "b"), 1);
  EXPECT_EQ(one("SELECT status || ' ' || queue FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), "running elsewhere");
}

TEST_P(Start, BadArgumentsAreRefusedByName) {
  EXPECT_THAT(refused("SELECT start_workflow('')"), HasSubstr("22023 workflow_name: "));
  EXPECT_THAT(refused("SELECT start_workflow(NULL)"), HasSubstr("22023 workflow_name: "));
  EXPECT_THAT(refused("SELECT start_workflow('echo', NULL)"), HasSubstr("22023 input: "));
  EXPECT_THAT(refused("SELECT start_workflow('echo', '1', '')"), HasSubstr("22023 instance_id: "));
  EXPECT_THAT(refused("SELECT start_workflow('echo', '1', repeat('x', 256))"), HasSubstr("22023 instance_id: "));
  EXPECT_THAT(refused("SELECT start_workflow('echo', '1', E'a\\nb')"), HasSubstr("22023 instance_id: "));
  EXPECT_THAT(refused("SELECT start_workflow('echo', '1', queue => '')"), HasSubstr("22023 queue: "));
}

TEST_P(Start, IdsMayBeAnyText) {
  const auto id = start("echo", 1, "ä/ö 日本 'quoted' \"%s\" $1");
  expect_completed(id, 1);
  EXPECT_EQ(romancy({"show", id}).exit_code, 0);
}

// ---------------------------------------------------------------------------------------------------- input and output

THEME(InputAndOutput);

TEST_P(InputAndOutput, AreWhatTheyWere) {
  const Json value = {{"a", {1, 2, {{"b", nullptr}}}}, {"text", "é\"\\"}, {"big", 9007199254740993}, {"d", 1.5}};
  const auto id = start("echo", value);
  expect_completed(id, value);
  EXPECT_EQ(Json::parse(one("SELECT input::text FROM workflow_instances WHERE instance_id = $1", pg::Params(id))), value);
}

TEST_P(InputAndOutput, AWorkflowWithoutOutputCompletesWithNull) {
  const auto id = start("nothing");
  expect_completed(id);
  EXPECT_EQ(one("SELECT output::text FROM workflow_result($1)", pg::Params(id)), "null");
  EXPECT_EQ(one("SELECT error IS NULL FROM workflow_result($1)", pg::Params(id)), "t");
}

TEST_P(InputAndOutput, AreReadIntoTheTypesOfTheWorkflow) {
  expect_completed(start("older", {{"name", "Ada"}, {"age", 36}, {"tags", {"a"}}}), {{"name", "Ada"}, {"age", 37}, {"tags", {"a"}}});
}

TEST_P(InputAndOutput, AnInputOfTheWrongTypeFailsTheWorkflowAndNamesTheField) {
  const Json error = expect_failed(start("older", {{"name", "Ada"}, {"age", "old"}, {"tags", Json::array()}}));
  EXPECT_THAT(error.at("type").get<std::string>(), HasSubstr("BadData"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("input: (/age)"));
}

TEST_P(InputAndOutput, AMissingFieldFailsTheWorkflowAndIsNamed) {
  const Json error = expect_failed(start("older", {{"name", "Ada"}, {"tags", Json::array()}}));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("age"));
}

TEST_P(InputAndOutput, ANumberThatDoesNotFitItsFieldIsRefused) {
  const Json error = expect_failed(start("older", {{"name", "Ada"}, {"age", 4294967297}, {"tags", Json::array()}}));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("/age"));
}

TEST_P(InputAndOutput, AnOutputThatIsNoJsonFailsTheWorkflow) {
  const Json error = expect_failed(start("no_json"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("output: /1: not a finite number"));
}

TEST_P(InputAndOutput, OfAMegabyteAreKept) {
  expect_completed(start("large", 1'000'000), std::string(1'000'000, 'l'));
  const std::string text(1'000'000, 'i');
  expect_completed(start("echo", text, "b"), text);
}

// ---------------------------------------------------------------------------------------------------------------- ends

THEME(Ends);

TEST_P(Ends, AnExceptionFailsTheWorkflowWithItsTypeAndText) {
  const Json error = expect_failed(start("throws_text", "käse \"quoted\""));
  EXPECT_EQ(error.at("message"), "käse \"quoted\"");
  EXPECT_EQ(error.at("type"), "std::runtime_error");
}

TEST_P(Ends, WhatIsNoExceptionFailsTheWorkflowToo) { expect_failed(start("throws_int")); }

TEST_P(Ends, AFailureTextIsCutRatherThanRefused) {
  const Json error = expect_failed(start("throws_text", std::string(100'000, 'x')));
  EXPECT_LT(error.at("message").get<std::string>().size(), 10'000u);
}

TEST_P(Ends, OfAFinishedWorkflowTheTimeIsKnown) {
  const auto id = start("nothing");
  expect_completed(id);
  EXPECT_EQ(one("SELECT finished_at >= created_at FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), "t");
}

TEST_P(Ends, ResultsAreReadableAsOftenAsOneLikes) {
  const auto id = start("echo", "again");
  for (int i = 0; i < 3; ++i) expect_completed(id, "again");
}

TEST_P(Ends, TheResultOfARunningWorkflowSaysThatItRuns) {
  const auto id = start("waits");
  expect_at_rest(id);
  EXPECT_EQ(one("SELECT status || coalesce(output::text, '') || coalesce(error::text, '') FROM workflow_result($1)", pg::Params(id)), "running");
  cancel(id);
  expect_cancelled(id);
}

TEST_P(Ends, TheResultOfNobodyIsRefusedByName) {
  EXPECT_THAT(refused("SELECT * FROM workflow_result($1)", pg::Params(mine("nobody"))), HasSubstr("22023 instance_id: "));
}

// ---------------------------------------------------------------------------------------------------------- coroutines

THEME(Parts);

TEST_P(Parts, AWorkflowIsMadeOfCoroutines) { expect_completed(start("parts", 12), 144); }

TEST_P(Parts, TheyMayBeThousandsDeep) {
  const auto id = start("deep_parts", 3000);
  expect_completed(id, 3000);
  EXPECT_EQ(times(id, "bottom"), 1);
}

TEST_P(Parts, TheirExceptionsAreCaughtByWhoCalledThem) {
  expect_completed(start("throwing_parts", 4), {"even", 1, "even", 3});
}

TEST_P(Parts, EverythingInOneWorkflow) {
  const auto id = start("everything", 5);
  Json wanted = Json::array();
  for (int i = 0; i < 5; ++i) {
    wanted.push_back("round " + std::to_string(i));
    wanted.push_back(i);
    wanted.push_back(false);
  }
  expect_completed(id, wanted);
  EXPECT_EQ(effects(id).size(), 5u);
  EXPECT_EQ(history_count(id, "event_sent"), 5);
}

TEST_P(Parts, ManyOfTheseSideBySide) {
  for (int i = 0; i < 25; ++i) start("everything", 3, std::to_string(i));
  for (int i = 0; i < 25; ++i) expect_completed(mine(std::to_string(i)));
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id ^@ $1", pg::Params(prefix())), 75);
  EXPECT_EQ(count("SELECT count(*) FROM effects WHERE instance_id ^@ $1", pg::Params(prefix())), 75);
}

// -------------------------------------------------------------------------------------------------- views and commands

THEME(Looking);

TEST_P(Looking, BothWorkersAreListedWithWhatTheyServe) {
  EXPECT_EQ(count("SELECT count(*) FROM workers WHERE kind = 'resumer' AND 'default/echo' = ANY (workflows) AND expires_at > now()"), 2);
}

TEST_P(Looking, HistoryTellsTheStoryInOrder) {
  const auto id = start("one_step", "x");
  expect_completed(id, "x");
  EXPECT_EQ(one("SELECT string_agg(seq || ':' || op || ':' || kind, ' ' ORDER BY seq) FROM workflow_history WHERE instance_id = $1", pg::Params(id)),
            "1:0:started 2:1:activity_completed 3:0:completed");
}

TEST_P(Looking, TheCommandShowsWhereAnInstanceIsAndWhy) {
  const auto id = start("waits_an_hour");
  expect_timer(id, "timeout");
  const Said said = romancy({"show", id});
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_THAT(said.out, AllOf(HasSubstr("waits_an_hour"), HasSubstr("mail")));
  cancel(id);
  expect_cancelled(id);
}

TEST_P(Looking, TheCommandStartsPublishesAndLists) {
  const auto id = mine("a");
  EXPECT_EQ(romancy({"start", "mailbox", "--id", id, "--input", "2"}).exit_code, 0);
  EXPECT_EQ(romancy({"publish", "mail", "--to", id, "--data", "{\"n\": 1}"}).exit_code, 0);
  EXPECT_EQ(romancy({"publish", "mail", "--to", id, "--data", "\"two\""}).exit_code, 0);
  expect_completed(id, {{{"n", 1}}, "two"});
  EXPECT_THAT(romancy({"list", "--name", "mailbox", "--status", "completed", "--limit", "100000"}).out, HasSubstr(id));
}

TEST_P(Looking, ShowAsJsonIsJson) {
  const auto id = start("echo", {{"n", 9007199254740993}});
  expect_completed(id);
  const Json shown = Json::parse(romancy({"show", id, "--json"}).out);
  EXPECT_THAT(shown.dump(), HasSubstr("9007199254740993"));
}

TEST_P(Looking, ShowOfNobodyFails) { EXPECT_NE(romancy({"show", mine("nobody")}).exit_code, 0); }

}  // namespace
}  // namespace romancy::test
