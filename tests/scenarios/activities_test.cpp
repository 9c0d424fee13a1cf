// Activities: what comes back, how often they happen, how they fail.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

THEME(Activities);

TEST_P(Activities, TheResultComesBack) {
  const auto id = start("one_step", "hello");
  expect_completed(id, "hello");
  EXPECT_THAT(effects(id), ElementsAre("hello"));
}

TEST_P(Activities, AStructWithListsMapsAndEnumsSurvivesTheSuspensionOfItsWorkflow) {
  const Json order = {{"id", "o-1"}, {"size", "large"}, {"lines", {{{"sku", "tea"}, {"cents", 950}}}},
                      {"tags", {{"a", {7}}}}, {"weight", 0.5}, {"gift", true}};
  const auto id = start("packed", order);
  expect_at_rest(id);
  publish(id, "send it", nullptr);
  Json wanted = order;
  wanted["lines"].push_back({{"sku", "label"}, {"cents", 0}});
  wanted["tags"]["packed"] = {1, 2, 3};
  expect_completed(id, wanted);
  EXPECT_EQ(times(id, "pack"), 1);
}

TEST_P(Activities, IntegersBeyondWhatADoubleHoldsAreKept) {
  const Json value = {{"big", 9007199254740993}, {"biggest", INT64_MAX}, {"least", INT64_MIN}};
  expect_completed(start("through", value), value);
}

TEST_P(Activities, TextsOfAnyLanguageAndEveryEscapeAreKept) {
  const Json value = {"é", "日本語", "\"quoted\"", "back\\slash", "tab\t", "line\n", "🙂", ""};
  expect_completed(start("through", value), value);
}

TEST_P(Activities, NullTrueAndNestedListsAreKept) {
  const Json value = {nullptr, true, false, Json::array(), Json::object(), {{"a", {{"b", {1, {2, {3}}}}}}}, 0.25, -1e-9};
  expect_completed(start("through", value), value);
}

TEST_P(Activities, WithoutInputAndResultRecordNull) {
  const auto id = start("ticking", 1);
  expect_completed(id, 1);
  EXPECT_EQ(history_data(id, "activity_completed"), Json(nullptr));
}

TEST_P(Activities, ManyInARowHappenOnceEach) {
  const auto id = start("ticking", 40);
  expect_completed(id, 40);
  EXPECT_EQ(times(id, "tick"), 40);
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 40);
}

TEST_P(Activities, HappenInTheOrderOfTheProgram) {
  const auto id = start("in_order", {"a", "b", "c", "d", "e"});
  expect_completed(id, "abcde");
  EXPECT_THAT(effects(id), ElementsAre("a", "b", "c", "d", "e"));
}

TEST_P(Activities, AreRecordedOnceEachAndInOrderInHistory) {
  const auto id = start("in_order", {"x", "y"});
  expect_completed(id, "xy");
  EXPECT_THAT(history(id), ElementsAre("started", "activity_completed mark", "activity_completed mark", "completed"));
}

TEST_P(Activities, AFailingOneIsTriedAgainUntilItSucceeds) {
  const auto id = start("retried", {{"what", "ask"}, {"failures", 2}});
  expect_completed(id, 3);
  EXPECT_EQ(times(id, "ask"), 3);
  EXPECT_EQ(history_count(id, "activity_failed"), 0);
}

TEST_P(Activities, AttemptsAreNumberedFromOneAndShareTheirKey) {
  const auto id = start("retried", {{"what", "ask"}, {"failures", 3}});
  expect_completed(id, 4);
  EXPECT_EQ(one("SELECT string_agg(attempt::text, ' ' ORDER BY id) FROM effects WHERE instance_id = $1", pg::Params(id)), "1 2 3 4");
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 1);
}

TEST_P(Activities, KeysDifferBetweenCallsAndBetweenInstances) {
  const auto a = start("keys", nullptr, "a"), b = start("keys", nullptr, "b");
  expect_completed(a);
  expect_completed(b);
  std::set<std::string> all;
  for (const auto& id : {a, b}) {
    for (const auto& key : output(id)) all.insert(key.get<std::string>());
  }
  EXPECT_EQ(all.size(), 4u);
}

TEST_P(Activities, KnowTheirInstance) {
  const auto id = start("whose");
  expect_completed(id, id);
}

TEST_P(Activities, AreGivenUpWhenTheirAttemptsAreUsedUp) {
  const auto id = start("catch_used_up");
  expect_status(id, "completed");
  const auto said = output(id).get<std::string>();
  EXPECT_THAT(said, StartsWith("out_of_stock|"));
  EXPECT_THAT(said, HasSubstr("OutOfStock|no tea left|3"));
  EXPECT_EQ(times(id, "look"), 3);
}

TEST_P(Activities, ATerminalErrorIsNotTriedAgainAndItsTypeIsTheWorkflowsToDecideOn) {
  const auto id = start("catch_terminal");
  expect_completed(id, "decline|CardDeclined|card 4242 has no money|1");
  EXPECT_EQ(times(id, "decline"), 1);
}

TEST_P(Activities, ATerminalErrorWithoutATypeIsCalledTerminalError) {
  expect_completed(start("catch_bad_request"), "bad_request|TerminalError|400|1");
}

TEST_P(Activities, MayThrowWhatIsNoException) {
  const auto id = start("catch_number");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), StartsWith("throws_a_number|"));
}

TEST_P(Activities, OneAttemptMeansNeverAgain) {
  const auto id = start("catch_once");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), EndsWith("|no luck|1"));
  EXPECT_EQ(times(id, "once"), 1);
}

TEST_P(Activities, AnUnknownOneFailsByNameAndIsNotTriedAgain) {
  const auto id = start("catch_unknown");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), StartsWith("nobody_registered_this|UnknownActivity|"));
  EXPECT_THAT(output(id).get<std::string>(), EndsWith("|1"));
}

TEST_P(Activities, AnInputThatDoesNotFitIsRefusedAndNamesTheField) {
  const auto id = start("catch_bad_input");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), HasSubstr("pack|BadData|input: (/lines/0/sku)"));
  EXPECT_EQ(times(id, "pack"), 0);
}

TEST_P(Activities, AResultThatDoesNotFitIsAnActivityError) {
  const auto id = start("catch_bad_result");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), HasSubstr("who|BadData|result: "));
}

TEST_P(Activities, AResultThatIsNoJsonIsRefusedWhereItIsMade) {
  const auto id = start("catch_nan");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), HasSubstr("BadData|result: /1: not a finite number"));
  const auto text = start("catch_utf8", nullptr, "utf8");
  expect_status(text, "completed");
  EXPECT_THAT(output(text).get<std::string>(), HasSubstr("BadData|result: "));
}

TEST_P(Activities, AnErrorTextIsCutRatherThanRefused) {
  const auto id = start("catch_talkative");
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), HasSubstr("xxxxxxxx"));
  EXPECT_LT(output(id).get<std::string>().size(), 10'000u);
}

TEST_P(Activities, AnErrorNobodyCatchesFailsTheWorkflowWithItsText) {
  const auto id = start("uncaught");
  const Json error = expect_failed(id);
  EXPECT_THAT(error.at("type").get<std::string>(), HasSubstr("ActivityError"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("out_of_stock failed at attempt 3"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("no tea left"));
}

TEST_P(Activities, AnOutcomeSaysWhatCameOfIt) {
  expect_completed(start("outcome"), "fine ok CardDeclined at 1");
}

TEST_P(Activities, AnOutcomeWithoutAValueThrowsItsErrorWhenAsked) {
  const Json error = expect_failed(start("outcome_rethrown"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("CardDeclined"));
}

TEST_P(Activities, TheBranchThatAFailureChoseIsKeptByEveryReplay) {
  const auto id = start("branching");
  expect_completed(id, "plan b");
  EXPECT_THAT(effects(id), ElementsAre("once", "plan b"));
}

TEST_P(Activities, ZeroAttemptsMeansForEver) {
  const auto id = start("for_ever", 12);
  expect_completed(id, 13);
  EXPECT_EQ(times(id, "try"), 13);
}

TEST_P(Activities, ALongPauseBetweenAttemptsIsATimerInTheDatabase) {
  const auto id = start("later", 1);
  expect_timer(id, "retry");
  EXPECT_EQ(times(id, "try"), 1);
  expect_completed(id, 2);
  EXPECT_EQ(history_count(id, "activity_retry"), 1);
  EXPECT_EQ(one("SELECT string_agg(attempt::text, ' ' ORDER BY id) FROM effects WHERE instance_id = $1", pg::Params(id)), "1 2");
}

TEST_P(Activities, AResultOfAMegabyteIsKept) { expect_completed(start("large_result", 1'000'000), 1'000'000); }

TEST_P(Activities, AFailureThatDoesNotMatterIsTolerated) {
  const auto id = start("tolerant");
  expect_completed(id, "not mailed: no luck");
  EXPECT_EQ(times(id, "order"), 1);
}

TEST_P(Activities, DoNotHappenAgainHoweverOftenTheirWorkflowIsSuspended) {
  const auto id = start("replayed_often", 8);
  expect_completed(id, 48);
  EXPECT_EQ(effects(id).size(), 8u);
  EXPECT_EQ(count("SELECT count(DISTINCT what) FROM effects WHERE instance_id = $1", pg::Params(id)), 8);
}

TEST_P(Activities, OfDifferentInstancesRunSideBySide) {
  std::vector<std::string> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(start("held_step", mine("gate"), std::to_string(i)));
  for (const auto& id : ids) expect_times(id, "held", 1);  // all of them are waiting at once
  open_gate(mine("gate"));
  for (const auto& id : ids) expect_completed(id, mine("gate"));
}

TEST_P(Activities, AnInstanceShowsWhichWorkerHasItWhileItsActivityRuns) {
  const auto id = start("held_step", mine("gate"));
  expect_times(id, "held", 1);
  EXPECT_THAT(one("SELECT worker FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), HasSubstr("test."));
  open_gate(mine("gate"));
  expect_completed(id);
  EXPECT_EQ(one("SELECT worker FROM workflow_instances WHERE instance_id = $1", pg::Params(id)), "");
}

}  // namespace
}  // namespace romancy::test
