// Examples: small applications as a whole.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

THEME(Examples);

TEST_P(Examples, AGreetingInThreeLanguages) {
  expect_completed(start("greeting", {{"name", "Ada"}, {"language", "en"}}, "en"), "Hello, Ada!");
  expect_completed(start("greeting", {{"name", "Ada"}, {"language", "ja"}}, "ja"), "こんにちは, Ada!");
  expect_completed(start("greeting", {{"name", "Ada"}, {"language", "es"}}, "es"), "Hola, Ada!");
  EXPECT_THAT(expect_failed(start("greeting", {{"name", "Ada"}, {"language", "xx"}}, "xx")).at("message").get<std::string>(), HasSubstr("UnknownLanguage"));
}

TEST_P(Examples, AnOrderThatIsPaidIsShipped) {
  const auto id = start("shop", {{"sku", "tea"}, {"quantity", 2}, {"pay_within_ms", 300'000}});
  expect_at_rest(id);
  publish(id, "payment.completed", {{"transaction", "t-7"}, {"cents", 1900}});
  expect_completed(id, "t-7 1900");
  EXPECT_THAT(effects(id), ElementsAre("reserve 2 tea", "ship for t-7"));
  EXPECT_EQ(history_count(id, "event_sent"), 1);
}

TEST_P(Examples, AnOrderThatIsNotPaidInTimeIsUndone) {
  const auto id = start("shop", {{"sku", "tea"}, {"quantity", 2}, {"pay_within_ms", 30}});
  EXPECT_THAT(expect_failed(id).at("type").get<std::string>(), HasSubstr("TimedOut"));
  EXPECT_THAT(effects(id), ElementsAre("reserve 2 tea", "undo reserve 2 tea"));
}

TEST_P(Examples, AnOrderThatIsPaidBeforeItWaitsIsShipped) {
  sql("BEGIN");
  const auto id = start("shop", {{"sku", "tea"}, {"quantity", 1}, {"pay_within_ms", 300'000}});
  publish(id, "payment.completed", {{"transaction", "early"}, {"cents", 5}});
  sql("COMMIT");
  expect_completed(id, "early 5");
}

TEST_P(Examples, AnOrderThatIsCancelledIsUndone) {
  const auto id = start("shop", {{"sku", "tea"}, {"quantity", 1}, {"pay_within_ms", 300'000}});
  expect_at_rest(id);
  cancel(id, "customer");
  expect_cancelled(id);
  EXPECT_THAT(effects(id), ElementsAre("reserve 1 tea", "undo reserve 1 tea"));
}

TEST_P(Examples, ASmallExpenseIsApprovedAtOnce) {
  const auto id = start("expense", {{"who", "Bob"}, {"cents", 999}});
  expect_completed(id, "approved automatically");
  EXPECT_THAT(effects(id), ElementsAre("validate", "approved automatically"));
}

TEST_P(Examples, ALargeExpenseWaitsForAPerson) {
  for (const bool approved : {true, false}) {
    const auto id = start("expense", {{"who", "Bob"}, {"cents", 99'900}}, approved ? "yes" : "no");
    expect_timer(id, "timeout");
    EXPECT_THAT(effects(id), ElementsAre("validate", "notify the boss of Bob"));
    publish(id, "approval.response", {{"approved", approved}, {"by", "Eve"}});
    expect_completed(id, approved ? "approved by Eve" : "rejected by Eve");
  }
}

TEST_P(Examples, AnExpenseOfNothingIsRefused) {
  const auto id = start("expense", {{"who", "Bob"}, {"cents", 0}});
  EXPECT_THAT(expect_failed(id).at("message").get<std::string>(), HasSubstr("an expense of nothing"));
  EXPECT_EQ(times(id, "validate"), 1);
}

TEST_P(Examples, ATripThatCanBePaidIsBooked) {
  const auto id = start("travel", {{"traveller", "Ada"}, {"can_pay", true}});
  expect_completed(id, "bon voyage, Ada");
  EXPECT_THAT(effects(id), ElementsAre("car", "hotel", "flight", "pay"));
}

TEST_P(Examples, ATripThatCannotBePaidIsUndoneFlightHotelCar) {
  const auto id = start("travel", {{"traveller", "Ada"}, {"can_pay", false}});
  EXPECT_THAT(expect_failed(id).at("message").get<std::string>(), HasSubstr("CardDeclined"));
  EXPECT_THAT(effects(id), ElementsAre("car", "hotel", "flight", "pay", "undo flight", "undo hotel", "undo car"));
}

TEST_P(Examples, ALoanIsDecidedByItsRating) {
  expect_completed(start("loan", 750, "good"), "approved");
  expect_completed(start("loan", 400, "poor"), "refused");
  const auto id = start("loan", 650, "fair");
  expect_at_rest(id);
  publish(id, "guarantor", true);
  expect_completed(id, "approved with a guarantor");
}

TEST_P(Examples, AForemanHandsOutJobsAndCollectsTheAnswers) {
  Json hands = Json::array();
  for (int i = 0; i < 4; ++i) hands.push_back(start("hand", nullptr, "hand" + std::to_string(i)));
  const auto id = start("foreman", {{"workers", hands}, {"jobs", 20}}, "foreman");
  expect_completed(id, 19 * 20 * 39 / 6);
  for (int i = 0; i < 4; ++i) expect_completed(mine("hand" + std::to_string(i)), 5);
  EXPECT_EQ(count("SELECT count(*) FROM effects WHERE instance_id ^@ $1", pg::Params(prefix())), 20);
}

TEST_P(Examples, ABatchGoesOnAfterItsBadItems) {
  const auto id = start("batch", 9);
  expect_completed(id, {2, 5, 8});
  EXPECT_EQ(history_count(id, "activity_failed"), 3);
}

}  // namespace
}  // namespace romancy::test
