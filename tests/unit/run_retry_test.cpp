// Run: how long an activity is tried.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

std::int64_t us(std::chrono::microseconds value) { return value.count(); }

const auto caller_of = [](const auto& activity) {
  return workflow("wf", [activity](Context& ctx) -> Task<std::string> {
    try {
      co_await ctx.run(activity);
    } catch (const ActivityError& e) {
      co_return e.type() + " " + std::to_string(e.attempt());
    }
    co_return "done";
  });
};

ActivityOptions limited(std::chrono::milliseconds pause, std::chrono::milliseconds limit) {
  ActivityOptions options;
  options.retry = {.attempts = 0, .first_interval = pause, .coefficient = 1, .max_interval = 1h, .jitter = 0, .max_duration = limit};
  return options;
}

TEST(RunRetry, APauseThatWouldEndTooLateIsNotWaitedFor) {
  const auto never = activity("never", [](Attempt&) { throw std::runtime_error("no"); }, limited(10s, 25s));
  Script script({caller_of(never)}, {never});
  script.evict_always = true;
  script.start("wf", "null");
  script.settle();
  while (script.fire_next()) script.settle();
  EXPECT_EQ(script.result(), R"("std::runtime_error 3")");  // begun at 0, 10 and 20 s
  EXPECT_EQ(script.attempts.size(), 3u);
  EXPECT_TRUE(script.deadlines.empty());
}

// The time an attempt takes counts, and it counts over the end of a process.
TEST(RunRetry, TheTimeIsCountedFromTheFirstAttemptOverRestarts) {
  const auto slow = activity("slow", [](Attempt&) { throw std::runtime_error("no"); }, limited(100ms, 60s));
  Script script({caller_of(slow)}, {slow});
  script.evict_always = true;
  script.on_activity = [&](const ActivityStart&) { script.clock_us += us(25s); };
  const auto began = script.clock_us;
  script.start("wf", "null");
  script.settle();  // even the short pause waits in the database: its row holds the beginning
  ASSERT_EQ(script.deadlines.size(), 1u);
  EXPECT_THAT(script.told(), HasSubstr("\"first_us\":" + std::to_string(began)));
  ASSERT_TRUE(script.fire_next());
  script.restart({caller_of(slow)}, {slow});
  script.settle();
  EXPECT_EQ(script.result(), R"("std::runtime_error 3")");  // at 0, 25.1 and 50.2 s
}

TEST(RunRetry, AnAttemptThatIsDueTooLateIsNotMade) {
  const auto never = activity("never", [](Attempt&) { throw std::runtime_error("no"); }, limited(10s, 25s));
  Script script({caller_of(never)}, {never});
  script.evict_always = true;
  script.start("wf", "null");
  script.settle();
  script.clock_us += us(24h);  // nobody was there when the pause ended
  ASSERT_TRUE(script.fire_next());
  script.restart({caller_of(never)}, {never});
  script.settle();
  EXPECT_EQ(script.result(), R"("std::runtime_error 1")");
  EXPECT_EQ(script.attempts.size(), 1u);
}

TEST(RunRetry, AKindThatIsNotRetryableFailsAtOnce) {
  ActivityOptions options;
  options.retry = {.attempts = 5, .first_interval = 1ms, .non_retryable = {"std::out_of_range"}};
  const auto picky = activity("picky", [](Attempt& at) {
        if (at.number() < 3) throw std::runtime_error("again");
        throw std::out_of_range("never");
      }, options);
  Script script({caller_of(picky)}, {picky});
  script.start("wf", "null");
  script.settle();
  EXPECT_EQ(script.result(), R"("std::out_of_range 3")");
}

}  // namespace
}  // namespace romancy::test
