// Run: several things at once; futures, races, scopes; in one life, after eviction, and after a death at every point.
#include <functional>

#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

const auto fail = activity("fail", [](Attempt&, std::string what) -> std::string {
  effects.push_back("fail " + what);
  throw TerminalError("no " + what);
});

using Concurrent = Effects;

Task<std::string> slowly(Context& ctx, std::string what) {
  co_await ctx.run(act, what);
  co_await ctx.sleep(1h);
  const std::string again = what + " again";
  co_return co_await ctx.run(act, again);
}

const auto both = workflow("both", [](Context& ctx) -> Task<std::string> {
  const std::string a = "a", b = "b";
  auto [x, y, z] = co_await ctx.when_all(ctx.run(act, a), slowly(ctx, b), ctx.receive<std::string>("mail"));
  co_return x + "," + y + "," + z;
});

TEST_F(Concurrent, WhenAllGivesTheResultsOfAllInTheOrderOfItsArguments) {
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({both}, {act});
    script.evict_always = evict;
    script.start("both", "null");
    script.settle();
    EXPECT_THAT(effects, testing::UnorderedElementsAre("a", "b"));
    script.message("mail", R"("m")");
    script.settle();
    EXPECT_EQ(script.status, Status::running);
    ASSERT_TRUE(script.fire_next());
    script.settle();
    EXPECT_EQ(script.result(), R"("a,b again,m")");
    EXPECT_EQ(script.attempts.size(), 3u);
  }
}

TEST_F(Concurrent, TheFirstErrorOfWhenAllEndsTheOthersAndLeavesNothingOfThem) {
  const auto one_fails = workflow("one_fails", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a";
    std::string how;
    try {
      co_await ctx.when_all(ctx.sleep(1h), ctx.receive<int>("mail", {.within = 2h}), ctx.run(fail, a));
    } catch (const ActivityError& e) {
      how = e.message();
    }
    co_await ctx.sleep(1s);
    co_return how;
  });
  for (const bool evict : {false, true}) {
    Script script({one_fails}, {fail});
    script.evict_always = evict;
    script.start("one_fails", "null");
    script.settle();
    ASSERT_EQ(script.deadlines.size(), 1u) << "only that of the last sleep";
    script.message("mail", "1");
    script.settle();
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.result(), R"("no a")");
  }
}

const auto race = workflow("race", [](Context& ctx) -> Task<std::string> {
  auto first = co_await ctx.when_any(ctx.receive<std::string>("mail"), ctx.sleep(1h));
  std::string how = first.index() == 0 ? first.get<0>() : "late";
  how += "," + co_await ctx.receive<std::string>("mail");
  co_return how;
});

TEST_F(Concurrent, TheLoserOfWhenAnyLeavesNothing) {
  for (const bool evict : {false, true}) {
    Script won({race}, {});
    won.evict_always = evict;
    won.start("race", "null");
    won.settle();
    EXPECT_EQ(won.deadlines.size(), 1u);
    won.message("mail", R"("in time")");
    won.settle();
    EXPECT_TRUE(won.deadlines.empty());
    won.message("mail", R"("next")");
    won.settle();
    EXPECT_EQ(won.result(), R"("in time,next")");

    Script lost({race}, {});
    lost.evict_always = evict;
    lost.start("race", "null");
    lost.settle();
    ASSERT_TRUE(lost.fire_next());
    lost.message("mail", R"("kept for the next receive")");
    lost.settle();
    EXPECT_EQ(lost.result(), R"("late,kept for the next receive")");
  }
}

TEST_F(Concurrent, BothTidingsAtOnceOneWinsAndTheOtherIsNotLost) {
  Script script({race}, {});
  script.start("race", "null");
  script.settle();
  ASSERT_TRUE(script.fire_next());
  script.message("mail", R"("m")");  // both in one delivery: the timer's row is first
  script.settle();
  EXPECT_EQ(script.result(), R"("late,m")");

  Script other({race}, {});
  other.start("race", "null");
  other.settle();
  other.message("mail", R"("m")");
  ASSERT_TRUE(other.fire_next());
  other.settle();
  other.message("mail", R"("n")");
  other.settle();
  EXPECT_EQ(other.result(), R"("m,n")");
}

TEST_F(Concurrent, ATimerThatIsOverBeforeItWasWrittenIsNeverWritten) {
  const auto brief = workflow("brief", [](Context& ctx) -> Task<> {
    auto timer = ctx.start(ctx.sleep(1h));
    timer.cancel("not needed");
    co_await ctx.receive<int>("mail");
  });
  Script script({brief}, {});
  script.start("brief", "null");
  script.settle();
  EXPECT_TRUE(script.deadlines.empty());
  script.message("mail", "1");
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
}

TEST_F(Concurrent, ACancelledTimerThrowsWhereItIsAwaitedTwiceIsHarmlessAndItsDeadlineGoes) {
  const auto timers = workflow("timers", [](Context& ctx) -> Task<std::string> {
    auto timer = ctx.start(ctx.sleep(1h));
    co_await ctx.receive<int>("mail");
    timer.cancel("first");
    timer.cancel("second");
    std::string how = "fired";
    try {
      co_await timer;
    } catch (const WorkflowCancelled& e) {
      how = e.reason();
    }
    co_await ctx.sleep(1s);  // the workflow itself is not cancelled
    co_return how;
  });
  for (const bool evict : {false, true}) {
    Script script({timers}, {});
    script.evict_always = evict;
    script.start("timers", "null");
    script.settle();
    ASSERT_EQ(script.deadlines.count(1), 1u);
    script.message("mail", "1");
    script.settle();
    EXPECT_EQ(script.deadlines.count(1), 0u);
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.result(), R"("first")");
  }
}

TEST_F(Concurrent, AHundredFuturesAreCollectedAsTheyGetReady) {
  const auto collect = workflow("collect", [](Context& ctx, int count) -> Task<int> {
    std::vector<Future<std::string>> all;
    for (int i = 0; i < count; ++i) {
      const std::string name = std::to_string(i);
      all.push_back(ctx.start(ctx.run(act, name)));
    }
    int sum = 0;
    while (!all.empty()) {
      const auto index = co_await ctx.wait_any(all);
      sum += std::stoi(co_await all[index]);
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(index));
    }
    co_return sum;
  });
  Script script({collect}, {act});
  script.start("collect", "100");
  script.settle();
  EXPECT_EQ(script.result(), "4950");
  EXPECT_EQ(effects.size(), 100u);
  EXPECT_EQ(script.commits, 2) << "they start after one commit and their results travel together";
}

TEST_F(Concurrent, WaitAllThrowsTheFirstErrorAndTheOthersGoOn) {
  const auto some = workflow("some", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a", b = "b";
    std::vector<Future<std::string>> all;
    all.push_back(ctx.start(ctx.run(fail, a)));
    all.push_back(ctx.start(slowly(ctx, b)));
    std::string how;
    try {
      co_await ctx.wait_all(all);
    } catch (const ActivityError& e) {
      how = e.message();
    }
    co_return how + "," + co_await all[1];
  });
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({some}, {act, fail});
    script.evict_always = evict;
    script.start("some", "null");
    script.settle();
    ASSERT_TRUE(script.fire_next());
    script.settle();
    EXPECT_EQ(script.result(), R"("no a,b again")");
  }
}

TEST_F(Concurrent, ADroppedFutureIsTakenBack) {
  const auto dropping = workflow("dropping", [](Context& ctx) -> Task<> {
    const std::string b = "b";
    {
      auto future = ctx.start(slowly(ctx, b));
      co_await ctx.receive<int>("mail");
    }
    co_await ctx.receive<int>("mail");
  });
  Script script({dropping}, {act});
  script.start("dropping", "null");
  script.settle();
  EXPECT_EQ(script.deadlines.size(), 1u);
  script.message("mail", "1");
  script.settle();
  EXPECT_TRUE(script.deadlines.empty());
  script.message("mail", "2");
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_THAT(effects, ElementsAre("b"));
}

TEST_F(Concurrent, AFutureIsAwaitedOnce) {
  const auto twice = workflow("twice", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a";
    auto future = ctx.start(ctx.run(act, a));
    co_await future;
    std::string how;
    try {
      co_await future;
    } catch (const std::logic_error& e) {
      how = e.what();
    }
    co_return how;
  });
  Script script({twice}, {act});
  script.start("twice", "null");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("awaited twice"));
}

TEST_F(Concurrent, AFutureThatLosesARaceGoesOn) {
  const auto kept = workflow("kept", [](Context& ctx) -> Task<std::string> {
    auto letter = ctx.start(ctx.receive<std::string>("mail"));
    auto first = co_await ctx.when_any(letter, ctx.sleep(1h));
    if (first.index() == 0) co_return "in time";
    co_return "late but here: " + co_await letter;
  });
  for (const bool evict : {false, true}) {
    Script script({kept}, {});
    script.evict_always = evict;
    script.start("kept", "null");
    script.settle();
    ASSERT_TRUE(script.fire_next());
    script.settle();
    script.message("mail", R"("m")");
    script.settle();
    EXPECT_EQ(script.result(), R"("late but here: m")");
  }
}

// ------------------------------------------------------------------------------------------------------------- scopes

TEST_F(Concurrent, AScopeIsCancelledTogetherAndWhatIsAroundItGoesOn) {
  const auto scoped = workflow("scoped", [](Context& ctx) -> Task<std::string> {
    Scope scope(ctx);
    const std::string b = "b";
    auto one = scope.start(ctx.sleep(1h));
    auto two = scope.start(slowly(ctx, b));
    co_await ctx.receive<int>("mail");
    scope.cancel("enough");
    std::string how;
    try {
      co_await one;
    } catch (const WorkflowCancelled& e) {
      how += e.reason();
    }
    try {
      co_await two;
    } catch (const WorkflowCancelled& e) {
      how += "," + e.reason();
    }
    try {  // for good: also what begins in it later
      auto three = scope.start(ctx.sleep(1s));
      co_await three;
    } catch (const WorkflowCancelled& e) {
      how += "," + e.reason();
    }
    co_await ctx.sleep(1s);
    co_return how + (ctx.cancelled() ? " all" : " only that");
  });
  for (const bool evict : {false, true}) {
    Script script({scoped}, {act});
    script.evict_always = evict;
    script.start("scoped", "null");
    script.settle();
    EXPECT_EQ(script.deadlines.size(), 2u);
    script.message("mail", "1");
    script.settle();
    EXPECT_EQ(script.deadlines.size(), 1u);
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.result(), R"("enough,enough,enough only that")");
  }
}

TEST_F(Concurrent, ACancelledInstanceCancelsItsScopesAndAShieldedPartOfABranchIsFinished) {
  const auto guarded = workflow("guarded", [](Context& ctx) -> Task<> {
    Scope scope(ctx);
    auto safe = scope.start(ctx.shield([](Context& c) -> Task<> {
      co_await c.sleep(1h);
      const std::string what = "cleaned up";
      co_await c.run(act, what);
    }));
    auto open = scope.start(ctx.sleep(2h));
    bool struck = false;
    try {
      co_await open;
    } catch (const WorkflowCancelled&) {
      struck = true;
    }
    if (struck) {
      // The shielded branch is still under way: waiting for it needs a shield too.
      co_await ctx.shield([](Context&, Future<void>* branch) -> Task<> { co_await *branch; }, &safe);
    }
  });
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({guarded}, {act});
    script.evict_always = evict;
    script.start("guarded", "null");
    script.settle();
    script.cancel("stop");
    script.settle();
    EXPECT_EQ(script.status, Status::running);
    EXPECT_EQ(script.deadlines.size(), 1u);
    script.fire_next();
    script.settle();
    EXPECT_THAT(effects, ElementsAre("cleaned up"));
    EXPECT_EQ(script.status, Status::completed);
  }
}

TEST_F(Concurrent, AShieldOfOneBranchIsNoShieldForItsNeighbour) {
  const auto neighbours = workflow("neighbours", [](Context& ctx) -> Task<std::string> {
    auto shielded = ctx.start(ctx.shield([](Context& c) -> Task<> { co_await c.sleep(1h); }));
    auto bare = ctx.start(ctx.sleep(2h));
    std::string how = "not cancelled";
    try {
      co_await bare;
    } catch (const WorkflowCancelled&) {
      how = "cancelled";
    }
    co_return how;
  });
  Script script({neighbours}, {});
  script.start("neighbours", "null");
  script.settle();
  script.cancel();
  script.settle();
  EXPECT_EQ(script.result(), R"("cancelled")");
  EXPECT_TRUE(script.deadlines.empty());
}

TEST_F(Concurrent, AScopesCancellationThatReachesTheTopFailsTheWorkflow) {
  const auto careless = workflow("careless", [](Context& ctx) -> Task<> {
    const std::string car = "car";
    ctx.compensate_with(undo, car);
    auto timer = ctx.start(ctx.sleep(1h));
    timer.cancel("by the code");
    co_await timer;
  });
  Script script({careless}, {undo});
  script.start("careless", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_EQ(Json::parse(script.result())["type"], "WorkflowCancelled");
  EXPECT_THAT(effects, ElementsAre("undo car"));
}

TEST_F(Concurrent, ABranchThatLosesDoesNotBeginItsActivityWhenItHasNotBegun) {
  const auto quick = workflow("quick", [](Context& ctx) -> Task<std::string> {
    const std::string slow = "slow";
    auto first = co_await ctx.when_any(ctx.run(act, slow), ctx.receive<std::string>("mail"));
    co_return first.index() == 1 ? first.get<1>() : std::string("activity");
  });
  Script script({quick}, {act});
  script.start("quick", "null");
  script.message("mail", R"("already here")");
  script.settle();
  EXPECT_EQ(script.result(), R"("already here")");
  EXPECT_TRUE(effects.empty());
}

TEST_F(Concurrent, TheResultOfAnActivityThatLostWhileItRanIsNotRecorded) {
  const auto overtaken = workflow("overtaken", [](Context& ctx) -> Task<std::string> {
    const std::string slow = "slow";
    auto first = co_await ctx.when_any(ctx.run(act, slow), ctx.receive<std::string>("mail"));
    co_await ctx.sleep(1s);
    co_return first.index() == 1 ? first.get<1>() : std::string("activity");
  });
  Script script({overtaken}, {act});
  script.on_activity = [&](const ActivityStart&) { script.message("mail", R"("faster")"); };
  script.start("overtaken", "null");
  script.settle();
  EXPECT_THAT(effects, ElementsAre("slow"));
  EXPECT_EQ(script.told(false).find("activity_completed"), std::string::npos);
  script.evict();
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.result(), R"("faster")");
  EXPECT_EQ(effects.size(), 1u) << "the replay does not run it again";
}

// ------------------------------------------------------------------------------------------- death at every point

struct Case {
  const char* name;
  WorkflowRef workflow;
  std::function<void(Script&)> play;
};

TEST_F(Concurrent, DeathAtAnyPointChangesNothing) {
  const auto fan = workflow("fan", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a", b = "b", c = "c";
    Scope scope(ctx);
    auto helper = scope.start(slowly(ctx, c));
    auto first = co_await ctx.when_any(slowly(ctx, a), slowly(ctx, b), ctx.receive<std::string>("mail"));
    std::string how = first.index() == 2 ? first.get<2>() : std::string("slow");
    scope.cancel();
    try {
      how += co_await helper;
    } catch (const WorkflowCancelled&) {
      how += ",cancelled";
    }
    auto [x, y] = co_await ctx.when_all(ctx.run(act, a), ctx.run(act, b));
    co_return how + "," + x + y;
  });
  const auto play = [](Script& script) {
    script.start("fan", "null");
    script.settle();
    script.message("mail", R"("m")");
    script.settle();
  };
  Script calm({fan}, {act});
  play(calm);
  ASSERT_EQ(calm.result(), R"("m,cancelled,ab")");
  ASSERT_GT(calm.points, 6);
  for (int point = 0; point < calm.points; ++point) {
    SCOPED_TRACE("death at point " + std::to_string(point));
    Script script({fan}, {act});
    script.die_at = point;
    play(script);
    EXPECT_EQ(script.result(), calm.result());
    EXPECT_TRUE(script.deadlines.empty());
  }
}

}  // namespace
}  // namespace romancy::test
