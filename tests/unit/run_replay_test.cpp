// Run: history is checked, long histories do not grow the stack, and evicted runs leave nothing behind.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

using testing::StartsWith;

const auto a = activity("a", [](Attempt&, int n) { return n; });
const auto b = activity("b", [](Attempt&, int n) { return n; });

const auto original = workflow("w", [](Context& ctx) -> Task<int> {
  const int n = co_await ctx.run(a, 1);
  ctx.publish("out", n);
  co_await ctx.sleep(1s);
  co_await ctx.receive<int>("in");
  co_return n;
});

// Runs `original` to its wait on "in", then gives its history to other code.
template <class F>
Script taken_over_by(F code) {
  Script script({original}, {a, b});
  script.start("w", "null");
  script.settle();
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.history.size(), 6u);
  script.restart({workflow("w", code)}, {a, b});
  script.settle();
  return script;
}

TEST(Replay, TheSameCodeGoesOn) {
  Script script = taken_over_by([](Context& ctx) -> Task<int> {
    const int n = co_await ctx.run(a, 1);
    ctx.publish("out", n);
    co_await ctx.sleep(1h);  // how long is not compared
    co_return co_await ctx.receive<int>("in");
  });
  EXPECT_EQ(script.stuck, "");
  script.message("in", "8");
  script.settle();
  EXPECT_EQ(script.result(), "8");
  EXPECT_EQ(script.messages.size(), 1u);
}

TEST(Replay, AnotherActivityIsNamedOnBothSides) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> { co_return co_await ctx.run(b, 1); });
  EXPECT_EQ(script.stuck,
            "mismatch: history has activity_completed 'a' (operation 1) at seq 2, but the code waits for activity 'b' "
            "(operation 1)");
}

TEST(Replay, ACommandThatIsMissingIsAMismatch) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    co_await ctx.run(a, 1);
    co_await ctx.sleep(1s);
    co_return 1;
  });
  EXPECT_EQ(script.stuck,
            "mismatch: history has published 'out' (operation 2) at seq 3, but the code did timer_started 'sleep' "
            "(operation 2)");
}

TEST(Replay, ACommandThatIsNewIsAMismatch) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    const int n = co_await ctx.run(a, 1);
    ctx.send_event("t", "s", n);
    ctx.publish("out", n);
    co_await ctx.sleep(1s);
    co_return n;
  });
  EXPECT_EQ(
      script.stuck,
      "mismatch: history has published 'out' (operation 2) at seq 3, but the code did event_sent 't' (operation 2)");
}

TEST(Replay, AnotherOrderIsAMismatch) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    ctx.publish("out", 1);
    co_return co_await ctx.run(a, 1);
  });
  EXPECT_THAT(
      script.stuck,
      StartsWith("mismatch: history has activity_completed 'a' (operation 1) at seq 2, but the code did published"));
}

TEST(Replay, TheSameCallElsewhereInTheProgramIsAMismatch) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    const int n = co_await ctx.run(a, 1);
    (void)ctx.uuid();  // takes an operation number, records nothing
    ctx.publish("out", n);
    co_return n;
  });
  EXPECT_EQ(
      script.stuck,
      "mismatch: history has published 'out' (operation 2) at seq 3, but the code did published 'out' (operation 3)");
}

TEST(Replay, HistoryLeftOverAfterTheEndIsAMismatch) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    const int n = co_await ctx.run(a, 1);
    ctx.publish("out", n);
    co_return n;
  });
  EXPECT_EQ(script.stuck,
            "mismatch: history has timer_started 'sleep' (operation 3) at seq 4, but the code did completed");
}

TEST(Replay, AFailureThatIsNewIsAMismatch) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    co_await ctx.run(a, 1);
    throw std::runtime_error("new");
  });
  EXPECT_THAT(script.stuck, HasSubstr("but the code did failed"));
}

TEST(Replay, AChannelIsComparedByName) {
  const Script script = taken_over_by([](Context& ctx) -> Task<int> {
    const int n = co_await ctx.run(a, 1);
    ctx.publish("out", n);
    co_await ctx.sleep(1s);
    co_return co_await ctx.receive<int>("other");
  });
  EXPECT_THAT(script.stuck,
              HasSubstr("history has wait_started 'in' (operation 4) at seq 6, but the code did wait_started 'other'"));
}

TEST(Replay, AMismatchWritesNothingAndGoesOnOnceTheCodeIsRight) {
  Script script = taken_over_by([](Context& ctx) -> Task<int> {
    for (;;) {
      try {
        (void)ctx.now();  // a mismatch: code that swallows everything is stopped at its next wait
      } catch (...) {
      }
      co_await ctx.sleep(1s);
    }
  });
  EXPECT_THAT(
      script.stuck,
      StartsWith("mismatch: history has activity_completed 'a' (operation 1) at seq 2, but the code did side_effect"));
  const auto before = script.told();
  script.restart({original}, {a, b});
  script.message("in", "3");
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_EQ(script.told().substr(0, before.size()), before);
}

TEST(Replay, AfterAMismatchNothingIsTaken) {
  const auto made = Registry::make({original}, {a, b});
  auto run = Run::make(*made, {"i", "w", 0}).value();
  const std::vector<HistoryRow> rows{{1, 0, HistoryKind::started, "", "null"},
                                     {2, 1, HistoryKind::timer_fired, "sleep", "null"}};
  const auto replayed = run->replay(rows);
  ASSERT_FALSE(replayed);
  EXPECT_EQ(replayed.error().kind, ErrorKind::refuse);
  const std::vector<InboxRow> inbox{{9, InboxKind::cancel, 0, "", "{}", "", 0}};
  EXPECT_FALSE(run->deliver(inbox));
  EXPECT_TRUE(run->take().empty());
  EXPECT_TRUE(run->take().activities.empty());
}

TEST(Replay, AGapInHistoryIsRefused) {
  const auto made = Registry::make({original}, {a});
  auto run = Run::make(*made, {"i", "w", 0}).value();
  const std::vector<HistoryRow> rows{{1, 0, HistoryKind::started, "", "null"},
                                     {3, 1, HistoryKind::activity_completed, "a", "1"}};
  const auto replayed = run->replay(rows);
  ASSERT_FALSE(replayed);
  EXPECT_EQ(replayed.error().text, "history: row 3 where 2 was expected");
}

TEST(Replay, AWorkflowThisProgramDoesNotHaveIsRefusedByName) {
  const auto made = Registry::make({original}, {a});
  const auto run = Run::make(*made, {"i", "other", 0});
  ASSERT_FALSE(run);
  EXPECT_THAT(run.error().text, HasSubstr("'other'"));
}

TEST(Replay, OneHundredThousandEventsDoNotGrowTheStack) {
  constexpr int kEvents = 100'000;
  const auto loop = workflow("loop", [](Context& ctx) -> Task<std::int64_t> {
    std::int64_t sum = 0;
    for (int i = 0; i < kEvents; ++i) sum += co_await ctx.run(a, i);
    co_await ctx.sleep(1s);
    co_return sum;
  }, {.max_history = 2L * kEvents});
  const auto made = Registry::make({loop}, {a});
  std::vector<HistoryRow> rows{{1, 0, HistoryKind::started, "", "null"}};
  for (int i = 0; i < kEvents; ++i)
    rows.push_back({i + 2, i + 1, HistoryKind::activity_completed, "a", std::to_string(i)});
  auto run = Run::make(*made, {"i", "loop", 0}).value();
  const auto replayed = run->replay(rows);
  ASSERT_TRUE(replayed) << replayed.error().text;
  Output output = run->take();
  ASSERT_EQ(output.history.size(), 1u);
  EXPECT_EQ(output.history[0].seq, kEvents + 2);
  EXPECT_EQ(output.timers.size(), 1u);
}

Task<int> leaf(int n) {
  co_return n;
}

TEST(Replay, OneHundredThousandAwaitsThatAreReadyDoNotGrowTheStack) {
  const auto loop = workflow("loop", [](Context& ctx) -> Task<std::int64_t> {
    std::int64_t sum = 0;
    for (int i = 0; i < 100'000; ++i) sum += co_await leaf(i);
    bool cancelled = false;
    try {
      co_await ctx.sleep(1s);
    } catch (const WorkflowCancelled&) {
      cancelled = true;
    }
    for (int i = 0; cancelled && i < 100'000; ++i) {  // each is refused on the spot
      try {
        co_await ctx.sleep(1s);
      } catch (const WorkflowCancelled&) {
        ++sum;
      }
    }
    co_return sum;
  });
  Script script({loop}, {});
  script.start("loop", "null");
  script.settle();
  script.cancel();
  script.settle();
  EXPECT_EQ(script.result(), std::to_string(4'999'950'000 + 100'000));
}

struct Noisy {
  Context* ctx;
  int* alive;
  Noisy(Context& c, int& count) : ctx(&c), alive(&count) { ++*alive; }
  ~Noisy() {
    --*alive;
    try {
      ctx->publish("from-a-destructor", 1);
      ctx->subscribe("from-a-destructor");
      (void)ctx->now();
      ctx->compensate_with(a, 1);
    } catch (...) {
      ADD_FAILURE() << "a call from a destructor must be refused quietly";
    }
  }
  Noisy(const Noisy&) = delete;
  Noisy& operator=(const Noisy&) = delete;
};
int alive = 0;

Task<> nested(Context& ctx, int levels, std::string payload) {
  const Noisy noisy(ctx, alive);
  if (levels == 0) co_await ctx.receive("never", {.within = 1h});
  else co_await nested(ctx, levels - 1, payload + ".");
}

TEST(Replay, AnEvictedRunDestroysItsCoroutinesAndHearsNothingFromThem) {
  alive = 0;
  const auto deep = workflow("deep", [](Context& ctx) -> Task<> { co_await nested(ctx, 50, "x"); });
  Script script({deep}, {a});
  script.start("deep", "null");
  script.settle();
  EXPECT_EQ(alive, 51);
  testing::internal::CaptureStderr();
  script.evict();
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_EQ(alive, 0);
  for (const char* call : {"publish", "subscribe", "now", "compensate_with"})
    EXPECT_THAT(logged, HasSubstr(std::string("call=") + call));
  EXPECT_TRUE(script.messages.empty());
  script.message("x", "1");
  script.settle();
  EXPECT_EQ(script.stuck, "");
  EXPECT_EQ(alive, 51);
}

TEST(Replay, AMismatchUnwindsThroughDestructorsThatCallTheContext) {
  alive = 0;
  Script script = taken_over_by([](Context& ctx) -> Task<int> {
    const Noisy noisy(ctx, alive);
    (void)ctx.now();
    co_return 1;
  });
  EXPECT_THAT(script.stuck, StartsWith("mismatch: "));
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace romancy::test
