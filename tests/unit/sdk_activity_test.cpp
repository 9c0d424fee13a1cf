// Activities as the engine runs them, retry policies, names; and the documented style of calls, which must stay clean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include <romancy/romancy.hpp>

#include "resumer/registry.hpp"
#include "resumer/sdk_names.hpp"

namespace romancy {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Order {
  std::string id, card;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, card, cents)

AttemptResult run(const ActivityRef& activity, const std::string& input) {
  Attempt attempt("i-1", 2, "i-1:1:0", {});
  return activity.run(attempt, input);
}

TEST(SdkActivity, ConvertsItsInputAndItsResult) {
  const auto charge = activity("charge", [](Attempt& at, const Order& o) {
    return o.id + "/" + at.key() + "/" + std::to_string(at.number()) + "/" + at.instance_id();
  });
  const auto result = run(charge, R"({"id":"o","card":"c","cents":5})");
  EXPECT_TRUE(result.ok);
  EXPECT_EQ(result.data, R"("o/i-1:1:0/2/i-1")");
  EXPECT_EQ(run(activity("nothing", [](Attempt&) {}), "null").data, "null");
}

TEST(SdkActivity, NeverThrowsWhateverItsFunctionThrows) {
  struct Declined : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  const auto declined = run(activity("a", [](Attempt&) { throw Declined("no"); }), "null");
  EXPECT_FALSE(declined.ok);
  EXPECT_FALSE(declined.terminal);
  EXPECT_THAT(declined.error_type, HasSubstr("Declined"));
  EXPECT_EQ(declined.error_message, "no");

  const auto terminal = run(activity("a", [](Attempt&) { throw TerminalError("no money", "CardDeclined"); }), "null");
  EXPECT_TRUE(terminal.terminal);
  EXPECT_EQ(terminal.error_type, "CardDeclined");

  EXPECT_EQ(run(activity("a", [](Attempt&) { throw 7; }), "null").error_type, "int");

  const auto bad = run(activity("a", [](Attempt&, Order) {}), R"({"id":"o","card":"c","cents":"5"})");
  EXPECT_TRUE(bad.terminal);
  EXPECT_EQ(bad.error_type, "BadData");
  EXPECT_EQ(bad.error_message, "input: (/cents) type must be number, but is string");
}

TEST(SdkActivity, AnErrorTextCanAlwaysBeStored) {
  const auto result =
      run(activity("a", [](Attempt&) { throw std::runtime_error("caf\xe9" + std::string(100'000, 'x')); }), "null");
  EXPECT_THAT(result.error_message, testing::StartsWith("caf\xef\xbf\xbdxxx"));
  EXPECT_LE(result.error_message.size(), 8200u);
  EXPECT_EQ(detail::string_problem(result.error_message), nullptr);
}

TEST(SdkRetry, PausesGrowToTheLongestAndAreTheSameEachTime) {
  const RetryPolicy policy{.attempts = 0, .first_interval = 100ms, .coefficient = 2, .max_interval = 1s, .jitter = 0};
  EXPECT_EQ(detail::retry_delay(policy, 1, "k"), 100ms);
  EXPECT_EQ(detail::retry_delay(policy, 3, "k"), 400ms);
  EXPECT_EQ(detail::retry_delay(policy, 10'000, "k"), 1s);
  std::set<std::chrono::milliseconds> spread;
  for (int i = 0; i < 100; ++i) {
    const auto pause = detail::retry_delay({.jitter = 0.5}, 1, "key-" + std::to_string(i));
    EXPECT_GE(pause, 50ms);
    EXPECT_LE(pause, 100ms);
    EXPECT_EQ(pause, detail::retry_delay({.jitter = 0.5}, 1, "key-" + std::to_string(i)));
    spread.insert(pause);
  }
  EXPECT_GT(spread.size(), 20u);
}

TEST(SdkRetry, ThePolicyDecidesAboutAnotherAttempt) {
  const RetryPolicy three{.attempts = 3, .first_interval = 100ms, .coefficient = 2, .max_interval = 10s, .jitter = 0};
  RetryPolicy picky = three;
  picky.attempts = 0;
  picky.non_retryable = {"shop::Declined", "AttemptTimedOut"};
  RetryPolicy hour = three;
  hour.attempts = 0;
  hour.max_duration = 1h;
  const auto none = std::optional<std::chrono::milliseconds>();
  const struct {
    const char* what;
    const RetryPolicy& policy;
    detail::FailedAttempt failed;
    std::optional<std::chrono::milliseconds> pause;
  } table[] = {
      {"the first pause is the first interval", three, {.number = 1}, 100ms},
      {"the second is longer", three, {.number = 2}, 200ms},
      {"the last attempt", three, {.number = 3}, none},
      {"beyond the last, by another policy", three, {.number = 7}, none},
      {"it said so itself", three, {.number = 1, .terminal = true}, none},
      {"for ever", picky, {.number = 1'000'000}, 10s},
      {"a kind that is listed", picky, {.number = 1, .type = "shop::Declined"}, none},
      {"a time-out that is listed", picky, {.number = 1, .type = "AttemptTimedOut"}, none},
      {"part of a listed name", picky, {.number = 1, .type = "Declined"}, 100ms},
      {"listed, but the database asks for another", picky, {.number = 1, .type = "shop::Declined", .retryable = true}, 100ms},
      {"the database asks, but it was the last", three, {.number = 3, .retryable = true}, none},
      {"within the time", hour, {.number = 1, .since_first = 1h - 100ms}, 100ms},
      {"the pause would end beyond it", hour, {.number = 1, .since_first = 1h - 99ms}, none},
      {"long over", hour, {.number = 1, .since_first = 24h}, none},
  };
  for (const auto& row : table) EXPECT_EQ(detail::next_attempt(row.policy, row.failed, "k"), row.pause) << row.what;
}

TEST(SdkRegistry, RefusesByName) {
  const auto ok = activity("ok", [](Attempt&) {});
  const auto wf = workflow("wf", [](Context&) -> Task<> { co_return; });
  const auto refusal = [](const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) {
    const auto made = resumer::Registry::make(workflows, activities);
    return made ? "" : made.error().text;
  };
  EXPECT_EQ(refusal({wf}, {ok}), "");
  EXPECT_EQ(refusal({wf, wf}, {}), "workflow 'wf' is registered twice");
  EXPECT_EQ(refusal({}, {ok, ok}), "activity 'ok' is registered twice");
  EXPECT_EQ(refusal({}, {activity("", [](Attempt&) {})}), "activity '': name: is empty");
  EXPECT_EQ(refusal({}, {activity("romancy.mine", [](Attempt&) {})}),
            "activity 'romancy.mine': name: what begins with 'romancy.' is built in");
  EXPECT_THAT(refusal({workflow("x", [](Context&) -> Task<> { co_return; }, {.queue = "a\nb"})}, {}),
              HasSubstr("queue: has a control character"));
  const auto with = [](RetryPolicy retry) { return activity("a", [](Attempt&) {}, {.retry = retry}); };
  EXPECT_THAT(refusal({}, {with({.attempts = -1})}), HasSubstr("activity 'a': retry.attempts: -1"));
  EXPECT_THAT(refusal({}, {with({.first_interval = 0ms})}), HasSubstr("retry.first_interval"));
  EXPECT_THAT(refusal({}, {with({.coefficient = 0.5})}), HasSubstr("retry.coefficient"));
  EXPECT_THAT(refusal({}, {with({.max_interval = 1ms})}), HasSubstr("retry.max_interval"));
  EXPECT_THAT(refusal({}, {with({.jitter = 2})}), HasSubstr("retry.jitter"));
  EXPECT_THAT(refusal({}, {with({.max_duration = -1ms})}), HasSubstr("retry.max_duration: -1 ms is not in"));
  EXPECT_THAT(refusal({}, {with({.non_retryable = {"a", ""}})}), HasSubstr("retry.non_retryable: entry 2 is empty"));
  EXPECT_THAT(refusal({}, {activity("a", [](Attempt&) {}, {.timeout = -1ms})}), HasSubstr("'a': timeout: -1 ms is not in"));
}

TEST(SdkNames, WhatIsDerivedFromAnOperationNeverChanges) {
  // Other systems keep these: a change here would repeat effects and events.
  EXPECT_EQ(resumer::operation_key("i-1", 3, 0), "i-1:3:0");
  EXPECT_EQ(resumer::operation_uuid("i-1", 3, 0), "7c477387-3da6-5538-bd1e-831f2c3765a7");
  EXPECT_EQ(resumer::operation_random("i-1", 3, 0), 17502847968897215673u);
  EXPECT_EQ(resumer::utc_time(1'767'323'045'000'006), "2026-01-02T03:04:05.000006Z");
  EXPECT_EQ(resumer::utc_time(-1), "1969-12-31T23:59:59.999999Z");
}

// ---- g++ 12 frees struct temporaries of a co_await expression twice: there they must not compile. ----

const auto by_order = activity("by_order", [](Attempt&, Order) { return 1; });
const auto by_text = activity("by_text", [](Attempt&, std::string) { return 1; });
const auto by_json = activity("by_json", [](Attempt&, Json) { return 1; });
const auto by_list = activity("by_list", [](Attempt&, std::vector<std::string>) { return 1; });

template <class A, class In>
concept RunsWith = requires(Context& ctx, const A& activity, In&& in) {
  ctx.run(activity, std::forward<In>(in));
};

TEST(SdkStyle, ANamedInputAlwaysCompilesAndATemporaryStructDoesNotWhereItWouldBeMiscompiled) {
  EXPECT_TRUE((RunsWith<decltype(by_order), Order&>));
  EXPECT_TRUE((RunsWith<decltype(by_order), const Order&>));
  EXPECT_TRUE((RunsWith<decltype(by_text), const char(&)[3]>));
  EXPECT_TRUE((RunsWith<decltype(by_text), std::string>));
  EXPECT_TRUE((RunsWith<decltype(by_json), const Json&>));
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
  EXPECT_FALSE((RunsWith<decltype(by_order), Order>));
  EXPECT_FALSE((RunsWith<decltype(by_json), Json>));
  EXPECT_FALSE((RunsWith<decltype(by_list), std::vector<std::string>>));
#else
  EXPECT_TRUE((RunsWith<decltype(by_order), Order>));
#endif
}

}  // namespace
}  // namespace romancy
