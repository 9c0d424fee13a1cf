// Run: what a review of the core found: ends and beginnings that meet, limits in replay, and users' mistakes.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

using Edge = Effects;

// ------------------------------------------------------------------------------------------------ competing channels

TEST_F(Edge, AMessageThatComesAfterUnsubscribeGoesBackToItsChannel) {
  const auto leaves = workflow("leaves", [](Context& ctx) -> Task<> {
    ctx.subscribe("jobs", ChannelMode::competing);
    {
      auto job = ctx.start(ctx.receive<int>("jobs"));
      co_await ctx.receive<int>("stop");
      ctx.unsubscribe("jobs");
    }
    co_await ctx.sleep(1h);
  });
  for (const bool evict : {false, true}) {
    Script script({leaves}, {});
    script.evict_always = evict;
    script.start("leaves", "null");
    script.settle();
    script.message("stop", "1");
    ASSERT_TRUE(script.distribute("jobs", "7"));  // side by side
    script.settle();
    EXPECT_THAT(script.given_back, ElementsAre("7"));
    EXPECT_TRUE(script.inbox.empty());
  }
}

TEST_F(Edge, AReceiveTakesPartInTheDistributionFromTheSubscriptionOn) {
  const auto late = workflow("late", [](Context& ctx, bool again) -> Task<int> {
    if (again) {  // the wait of a former subscription went with it
      ctx.subscribe("jobs", ChannelMode::competing);
    }
    auto job = ctx.start(ctx.receive<int>("jobs"));
    co_await ctx.receive<int>("go");
    if (again) ctx.unsubscribe("jobs");
    ctx.subscribe("jobs", ChannelMode::competing);
    co_return co_await job;
  });
  for (const bool evict : {false, true}) {
    for (const char* again : {"false", "true"}) {
      Script script({late}, {});
      script.evict_always = evict;
      script.start("late", again);
      script.settle();
      script.message("go", "1");
      script.settle();
      ASSERT_TRUE(script.distribute("jobs", "7")) << "again: " << again;
      script.settle();
      EXPECT_EQ(script.result(), "7");
      EXPECT_TRUE(script.waits.empty());
    }
  }
}

TEST_F(Edge, AReceiveThatSubscribesAndIsDroppedInOneCommitLeavesNoDeadline) {
  const auto brief = workflow("brief", [](Context& ctx) -> Task<> {
    {
      auto job = ctx.start(ctx.receive_for<int>("jobs", 1h));
      co_await ctx.receive<int>("go");
      ctx.subscribe("jobs", ChannelMode::competing);
    }
    co_await ctx.receive<int>("go");
  });
  Script script({brief}, {});
  script.start("brief", "null");
  script.settle();
  EXPECT_EQ(script.deadlines.size(), 1u);
  script.message("go", "1");
  script.settle();
  EXPECT_TRUE(script.deadlines.empty());
  EXPECT_TRUE(script.waits.empty());
}

// ----------------------------------------------------------------------------------------- transactional activities

const auto debit = transactional("debit", [](Transaction&, std::string what) { return what; });

// Its result is durable before the code was told: whoever is rebuilt then is told for the first time.
TEST_F(Edge, WhatLosesAgainstATransactionalActivityIsTakenBackAlsoByASuccessor) {
  const auto pays = workflow("pays", [](Context& ctx) -> Task<> {
    const std::string what = "a";
    ctx.subscribe("jobs", ChannelMode::competing);
    co_await ctx.when_any(ctx.receive<int>("jobs", {.within = 1h}), ctx.run(debit, what), ctx.sleep(2h));
    ctx.log(LogLevel::info, "told once");
    co_await ctx.receive<int>("next");
  });
  const auto made = Registry::make({pays}, {debit});
  auto run = Run::make(*made, {"i", "pays", 0}).value();
  const std::vector<HistoryRow> rows{{1, 0, HistoryKind::started, "", "null"},
                                     {2, 1, HistoryKind::subscribed, "jobs", R"({"mode":"competing"})"},
                                     {3, 2, HistoryKind::wait_started, "jobs", R"({"within_us":3600000000})"},
                                     {4, 4, HistoryKind::timer_started, "sleep", R"({"after_us":7200000000})"},
                                     {5, 3, HistoryKind::activity_completed, "debit", R"("a")"}};
  testing::internal::CaptureStderr();
  const auto replayed = run->replay(rows);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("told once"));
  ASSERT_TRUE(replayed) << replayed.error().text;
  EXPECT_THAT(run->take().timers_over, testing::UnorderedElementsAre(2, 4));
}

// -------------------------------------------------------------------------------------- life and replay are the same

TEST_F(Edge, ALogLineAfterTheLastRowOfHistoryIsNotWrittenAgain) {
  const auto talks = workflow("talks", [](Context& ctx) -> Task<> {
    auto never = ctx.start(ctx.receive<int>("never"));
    auto mail = ctx.start(ctx.receive<int>("mail"));
    co_await mail;
    ctx.log(LogLevel::info, "got mail");
    effects.emplace_back(ctx.replaying() ? "again" : "first");
    co_await never;
  });
  testing::internal::CaptureStderr();
  Script script({talks}, {});
  script.evict_always = true;
  script.start("talks", "null");
  script.settle();
  script.message("mail", "1");
  script.settle();
  script.message("other", "1");  // wakes it up
  script.settle();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("got mail"), text.rfind("got mail")) << text;
  EXPECT_THAT(effects, ElementsAre("first", "again"));
}

TEST_F(Edge, ASideEffectThatThrowsThrowsTheSameInEveryReplay) {
  int calls = 0;
  const auto draws = workflow("draws", [&calls](Context& ctx) -> Task<std::string> {
    std::string how;
    try {
      how = ctx.side_effect("draw", [&]() -> std::string {
        if (++calls == 1) throw std::out_of_range("no cards");
        return "an ace";
      });
    } catch (const SideEffectError& e) {
      how = e.type() + ": " + e.message();
    }
    co_await ctx.sleep(1s);
    co_return how;
  });
  Script script({draws}, {});
  script.evict_always = true;
  script.start("draws", "null");
  script.settle();
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.stuck, "");
  EXPECT_EQ(script.result(), R"("std::out_of_range: no cards")");
  EXPECT_EQ(calls, 1);
}

TEST_F(Edge, TheAttemptThatAnErrorNamesIsOneThatHistoryKnows) {
  static const auto second = activity("second", [](Attempt& at) -> std::string {
    if (at.number() == 1) throw std::runtime_error("not yet");
    return "no number";
  });
  static const auto misread = activity("second", [](Attempt&) { return 1; });  // what the workflow thinks it is
  const auto reads = workflow("reads", [](Context& ctx) -> Task<int> {
    int attempt = 0;
    try {
      co_await ctx.run(misread);
    } catch (const ActivityError& e) {
      attempt = e.attempt();
    }
    co_await ctx.sleep(1s);
    co_return attempt;
  });
  std::vector<std::string> results;
  for (const bool evict : {false, true}) {
    Script script({reads}, {second});
    script.evict_always = evict;
    script.start("reads", "null");
    script.settle();
    script.fire_next();
    script.settle();
    results.push_back(script.result());
  }
  EXPECT_EQ(results[0], results[1]);
}

// -------------------------------------------------------------------------------------------------------------- limits

TEST_F(Edge, ACommandRefusedForTheLimitIsRefusedInReplayToo) {
  const auto floods = workflow(
      "floods",
      [](Context& ctx) -> Task<std::string> {
        // In a shield, so that the cancellation at the first limit does not end it.
        co_return co_await ctx.shield([](Context& c) -> Task<std::string> {
          auto early = c.start(c.sleep(1h));
          std::string how;
          try {
            for (;;) c.publish("all", 1);
          } catch (const std::length_error&) {
            how = "refused";
          }
          co_await early;
          try {
            co_await c.sleep(1s);
          } catch (const std::length_error&) {
            how += ", also to wait";
          }
          try {
            const std::string what = "a";
            co_await c.run(act, what);
          } catch (const std::length_error&) {
            how += ", also to run";
          }
          co_return how;
        });
      },
      {.max_history = 100});
  for (const bool evict : {false, true}) {
    Script script({floods}, {act});
    script.evict_always = evict;
    script.start("floods", "null");
    script.settle();
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.stuck, "");
    EXPECT_EQ(script.status, Status::completed) << script.result();
    EXPECT_EQ(script.result(), R"("refused, also to wait, also to run")");
  }
}

TEST_F(Edge, ACatchOfEverythingAroundAWaitThatIsRefusedDoesNotHangTheWorker) {
  const auto stubborn = workflow("stubborn", [](Context& ctx) -> Task<> {
    const std::string car = "car";
    ctx.compensate_with(act, car);
    for (;;) {
      try {
        co_await ctx.sleep(1h);
      } catch (...) {
      }
    }
  });
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({stubborn}, {act});
    script.evict_always = evict;
    script.start("stubborn", "null");
    script.settle();
    script.cancel();
    script.settle();
    EXPECT_EQ(script.status, Status::failed);
    EXPECT_EQ(Json::parse(script.result())["type"], "CancellationIgnored");
    EXPECT_THAT(effects, ElementsAre("car"));
  }
}

TEST_F(Edge, ACancellationIsNotLostWhenATimeOutCameFirstAndTheWorkflowRecurs) {
  const auto busy = workflow(
      "busy",
      [](Context& ctx, int generation) -> Task<> {
        const std::string what = std::to_string(generation);
        co_await ctx.run(act, what);
        if (generation == 0) ctx.recur(1);
        co_await ctx.sleep(1h);
      },
      {.timeout = 1min});
  Script script({busy}, {act});
  script.on_activity = [&](const ActivityStart&) {
    if (script.generation != 0) return;
    script.fire(0);
    script.cancel("stop it");
  };
  script.start("busy", "0");
  script.settle();
  EXPECT_EQ(script.generation, 1);
  EXPECT_EQ(script.status, Status::cancelled);
}

// ---------------------------------------------------------------------------------------------------- users' mistakes

struct Busy {  // everything a destructor must not do
  Context* ctx;
  Future<void>* future;
  ~Busy() {
    try {
      const std::string what = "from a destructor";
      auto started = ctx->start(ctx->run(act, what));
      auto nap = ctx->start(ctx->sleep(1h));
      auto wait = ctx->start(ctx->receive<int>("mail", {.within = 1h}));
      romancy::Scope scope(*ctx);
      auto in_scope = scope.start(ctx->sleep(1h));
      scope.cancel();
      future->cancel();
      auto both = ctx->when_all(ctx->sleep(1s), ctx->sleep(2s));
      auto part = ctx->shield([](Context& c) -> Task<> { co_await c.sleep(1s); });
    } catch (...) {
      ADD_FAILURE() << "a call from a destructor must be refused quietly";
    }
  }
};

TEST_F(Edge, WhatADestructorStartsWhileTheInstanceLeavesMemoryIsRefused) {
  const auto careless = workflow("careless", [](Context& ctx) -> Task<> {
    auto other = ctx.start(ctx.sleep(3h));
    const Busy busy{&ctx, &other};
    co_await ctx.receive<int>("never");
  });
  Script script({careless}, {act});
  script.start("careless", "null");
  script.settle();
  testing::internal::CaptureStderr();
  script.evict();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("call=sleep"));
  EXPECT_EQ(script.deadlines.size(), 1u);
  script.message("x", "1");
  script.settle();
  EXPECT_EQ(script.stuck, "");
  EXPECT_TRUE(effects.empty());
}

Task<int> five() {
  co_return 5;
}

TEST_F(Edge, ATaskAwaitedTwiceOrMovedAwayIsALogicError) {
  const auto twice = workflow("twice", [](Context& ctx) -> Task<std::string> {
    std::string how;
    auto task = five();
    how += std::to_string(co_await std::move(task));
    try {
      co_await std::move(task);  // NOLINT(bugprone-use-after-move): what this asks
    } catch (const std::logic_error& e) {
      how += e.what();
    }
    Task<int> none;
    try {
      co_await std::move(none);
    } catch (const std::logic_error&) {
      how += " empty";
    }
    try {
      auto future = ctx.start(Task<int>());
    } catch (const std::logic_error&) {
      how += " unstartable";
    }
    auto any = ctx.when_any(five(), five());
    co_await any;
    try {
      co_await any;
    } catch (const std::logic_error&) {
      how += " any";
    }
    co_return how;
  });
  Script script({twice}, {});
  script.start("twice", "null");
  script.settle();
  EXPECT_EQ(script.result(), R"("5romancy::Task: awaited twice, or moved away empty unstartable any")");
}

}  // namespace
}  // namespace romancy::test
