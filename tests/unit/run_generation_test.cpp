// Run: new generations, side effects, limits, competing channels, groups, events: in one life, after eviction, and after a
// death at every point.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

const auto keyed = activity("do", [](Attempt& at, std::string what) {
  effects.push_back(what + "|" + at.key());
  return what;
});

using Generation = Effects;
using Recorded = Effects;
using Limit = Effects;
using Competing = Effects;

// -------------------------------------------------------------------------------------------------------- generations

const auto counter = workflow("counter", [](Context& ctx, int left) -> Task<std::string> {
  const std::string what = std::to_string(left);
  co_await ctx.run(keyed, what);
  const auto mail = co_await ctx.receive<std::string>("mail");
  if (left == 0) co_return mail;
  ctx.recur(left - 1);
});

TEST_F(Generation, BeginsWithTheNewInputAnEmptyHistoryAndItsOwnKeys) {
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({counter}, {keyed});
    script.evict_always = evict;
    script.start("counter", "2");
    for (int i = 0; i < 3; ++i) script.message("mail", '"' + std::to_string(i) + '"');
    script.settle();
    EXPECT_EQ(script.result(), R"("2")") << "unread messages go with it, in order";
    EXPECT_EQ(script.generation, 2);
    ASSERT_EQ(script.archive.size(), 2u);
    EXPECT_EQ(script.archive[0].back().kind, HistoryKind::recurred);
    EXPECT_EQ(script.archive[0].back().data, "1");
    EXPECT_EQ(script.history.front().data, "0");
    EXPECT_THAT(effects, ElementsAre("2|i-1:1:0", "1|i-1:1:1", "0|i-1:1:2"));
  }
}

// Its id was another's before, whose generations were 0 to 4.
TEST_F(Generation, OfAnIdThatWasUsedCountsFromZeroWithKeysOfItsOwn) {
  const auto counts = workflow("counts", [](Context& ctx, int left) -> Task<int> {
    const std::string what = std::to_string(ctx.generation());
    co_await ctx.run(keyed, what);
    if (left > 0) ctx.recur(left - 1);
    co_return ctx.generation();
  });
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({counts}, {keyed});
    script.evict_always = evict;
    script.generation = script.first_generation = 5;
    script.start("counts", "9");  // the former one's, from a transaction that stayed open
    script.put(InboxKind::start, 5, {}, "1");
    script.settle();
    EXPECT_EQ(script.result(), "1");
    EXPECT_THAT(effects, ElementsAre("0|i-1:1:5", "1|i-1:1:6"));
  }
}

// A cancellation that does not wait for start_at copies the start, and its transaction may come through at any time.
TEST_F(Generation, AStartToldAgainBeginsNeitherItsOwnGenerationNorALaterOne) {
  for (const bool evict : {false, true}) {
    Script script({counter}, {keyed});
    script.evict_always = evict;
    script.start("counter", "1");
    script.put(InboxKind::start, 0, {}, "1");
    script.settle();
    script.message("mail", R"("a")");
    script.put(InboxKind::start, 0, {}, "1");  // behind the message that ends the generation, before the next one's start
    script.settle();
    EXPECT_EQ(script.generation, 1);
    script.message("mail", R"("b")");
    script.settle();
    EXPECT_EQ(script.result(), R"("b")");
    EXPECT_EQ(script.history.front().data, "0");
  }
}

TEST_F(Generation, MessagesThatWereSeenAndLeftGoWithIt) {
  const auto picky = workflow("picky", [](Context& ctx, int generation) -> Task<std::string> {
    if (generation == 1) co_return co_await ctx.receive<std::string>("other");
    co_await ctx.receive<std::string>("mail");
    ctx.recur(1);
  });
  for (const bool evict : {false, true}) {
    Script script({picky}, {});
    script.evict_always = evict;
    script.start("picky", "0");
    script.message("other", R"("early")");
    script.settle();
    script.message("mail", R"("go")");
    script.settle();
    EXPECT_EQ(script.result(), R"("early")");
  }
}

TEST_F(Generation, TimersAndWhatIsUnderWayOfTheOldOneDoNotReachTheNew) {
  const auto timers = workflow("timers", [](Context& ctx, int generation) -> Task<std::string> {
    auto timer = ctx.start(ctx.sleep(1h));
    co_await ctx.receive<std::string>("mail");
    if (generation == 0) ctx.recur(1);
    co_await timer;
    co_return "the new one's";
  });
  Script script({timers}, {});
  script.start("timers", "0");
  script.settle();
  script.message("mail", R"("a")");
  script.fire(1);  // the old timer's row is in the inbox, behind the message that ends the generation
  script.settle();
  EXPECT_EQ(script.generation, 1);
  script.message("mail", R"("b")");
  script.settle();
  EXPECT_EQ(script.status, Status::running) << "its own timer has not fired";
  ASSERT_TRUE(script.fire(1));
  script.settle();
  EXPECT_EQ(script.result(), R"("the new one's")");
}

TEST_F(Generation, ACancellationThatComesWithItReachesTheNewOne) {
  const auto busy = workflow("busy", [](Context& ctx, int generation) -> Task<std::string> {
    const std::string what = std::to_string(generation);
    ctx.compensate_with(undo, what);
    if (generation == 0) ctx.forget_compensations();
    co_await ctx.run(keyed, what);
    if (generation == 0) ctx.recur(1);
    co_return "never";
  });
  Script script({busy}, {keyed, undo});
  script.on_activity = [&](const ActivityStart&) {
    if (script.generation == 0) script.cancel("stop it");
  };
  script.start("busy", "0");
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_EQ(script.generation, 1);
  EXPECT_THAT(effects, ElementsAre("0|i-1:2:0", "undo 1")) << "the new one's code ran to where it waits";
}

TEST_F(Generation, IsRefusedWhileCompensationsAreRegistered) {
  const auto saga = workflow("saga", [](Context& ctx, bool forget) -> Task<std::string> {
    const std::string car = "car";
    ctx.compensate_with(undo, car);
    if (forget) ctx.forget_compensations();
    if (ctx.generation() == 1) co_return "done";
    ctx.recur(forget);
  });
  Script refused({saga}, {undo});
  refused.start("saga", "false");
  refused.settle();
  EXPECT_EQ(refused.status, Status::failed);
  EXPECT_THAT(refused.result(), HasSubstr("recur: 1 compensations are registered"));
  EXPECT_THAT(effects, ElementsAre("undo car"));
  Script forgotten({saga}, {undo});
  forgotten.start("saga", "true");
  forgotten.settle();
  EXPECT_EQ(forgotten.result(), R"("done")");
}

TEST_F(Generation, DeathAtAnyPointOfAChainChangesNothing) {
  const auto play = [](Script& script) {
    script.start("counter", "2");
    script.settle();
    for (int i = 0; i < 3; ++i) {
      script.message("mail", '"' + std::to_string(i) + '"');
      script.settle();
    }
  };
  Script calm({counter}, {keyed});
  play(calm);
  ASSERT_EQ(calm.result(), R"("2")");
  for (int point = 0; point < calm.points; ++point) {
    SCOPED_TRACE("death at point " + std::to_string(point));
    Script script({counter}, {keyed});
    script.die_at = point;
    play(script);
    EXPECT_EQ(script.result(), calm.result());
    EXPECT_EQ(script.archive.size(), 2u);
  }
}

// ------------------------------------------------------------------------------------------- side effects, logs, bytes

TEST_F(Recorded, ASideEffectIsEvaluatedOnceHoweverOftenItIsReplayed) {
  int calls = 0;
  const auto draws = workflow("draws", [&calls](Context& ctx) -> Task<int> {
    const int a = ctx.side_effect("three", [&] { return ++calls, 3; });
    co_await ctx.sleep(1s);
    const int b = ctx.side_effect("four", [&] { return ++calls, 4; });
    co_await ctx.sleep(1s);
    co_return a + b;
  });
  Script script({draws}, {});
  script.evict_always = true;
  script.start("draws", "null");
  script.settle();
  while (script.fire_next()) script.settle();
  EXPECT_EQ(script.result(), "7");
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(script.told(), HasSubstr("side_effect 'three' (operation 1) 3"));
}

TEST_F(Recorded, ASideEffectThatMovedIsAMismatchThatNamesBoth) {
  const auto version = [](const char* name) {
    return workflow("w", [name](Context& ctx) -> Task<int> {
      const int value = ctx.side_effect(name, [] { return 1; });
      co_await ctx.sleep(1s);
      co_return value;
    });
  };
  Script script({version("a")}, {});
  script.start("w", "null");
  script.settle();
  script.restart({version("b")}, {});
  script.settle();
  EXPECT_THAT(script.stuck, HasSubstr("side_effect 'a'"));
  EXPECT_THAT(script.stuck, HasSubstr("side_effect 'b'"));
  script.restart({version("a")}, {});
  script.settle();
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.result(), "1");
}

TEST_F(Recorded, ALogLineOfTheWorkflowIsWrittenOnceInSpiteOfReplays) {
  const auto talks = workflow("talks", [](Context& ctx) -> Task<> {
    ctx.log(LogLevel::info, "before the nap", Json{{"order", 7}});
    co_await ctx.sleep(1s);
    ctx.log(LogLevel::warn, "after the nap");
    co_await ctx.sleep(1s);
  });
  testing::internal::CaptureStderr();
  Script script({talks}, {});
  script.evict_always = true;
  script.start("talks", "null");
  script.settle();
  while (script.fire_next()) script.settle();
  const std::string text = testing::internal::GetCapturedStderr();
  const auto times = [&](const std::string& what) {
    int found = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_EQ(times("before the nap"), 1) << text;
  EXPECT_EQ(times("after the nap"), 1) << text;
  EXPECT_THAT(text, HasSubstr("instance_id=i-1 workflow_name=talks order=7"));
}

TEST_F(Recorded, BinaryPayloadsSurviveReplayByteForByte) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  static const auto carry = activity("carry", [](Attempt&, Bytes bytes) {
    bytes.data.push_back(std::byte{0});
    return bytes;
  });
  const auto binary = workflow("binary", [](Context& ctx, Bytes input) -> Task<Bytes> {
    const Bytes longer = co_await ctx.run(carry, input);
    const auto message = co_await ctx.receive<Bytes>("mail");
    if (message != input) throw std::runtime_error("not what was sent");
    co_return longer;
  });
  Script script({binary}, {carry});
  script.evict_always = true;
  const std::string text = Json(Bytes(all)).dump();
  script.start("binary", text);
  script.settle();
  script.message("mail", text);
  script.settle();
  EXPECT_EQ(Json::parse(script.result()).get<Bytes>().text(), all + std::string(1, '\0'));
  for (const char* bad : {R"({"$binary":"a"})", R"({"$binary":"ab!="})", R"({"$binary":7})", R"("text")", R"({})"}) {
    Script refused({binary}, {carry});
    refused.start("binary", bad);
    refused.settle();
    EXPECT_THAT(refused.result(), HasSubstr("BadData")) << bad;
  }
}

// ------------------------------------------------------------------------------------------------------------- limits

TEST_F(Limit, TheWorkflowsTimeOutCancelsItCompensatesAndFailsItByName) {
  const auto slow = workflow(
      "slow",
      [](Context& ctx) -> Task<> {
        const std::string car = "car";
        ctx.compensate_with(undo, car);
        co_await ctx.sleep(1h);
      },
      {.timeout = 1min});
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({slow}, {undo});
    script.evict_always = evict;
    script.start("slow", "null");
    script.settle();
    ASSERT_EQ(script.deadlines.count(0), 1u);
    ASSERT_TRUE(script.fire_next());
    script.settle();
    EXPECT_EQ(script.status, Status::failed);
    EXPECT_EQ(Json::parse(script.result())["type"], "WorkflowTimedOut");
    EXPECT_THAT(script.result(), HasSubstr("60000 ms"));
    EXPECT_THAT(effects, ElementsAre("undo car"));
    EXPECT_TRUE(script.deadlines.empty());
  }
}

TEST_F(Limit, ATimeOutWaitsForTheActivityUnderWayAndAWorkflowThatIsDoneByThenCompletes) {
  const auto last = workflow(
      "last",
      [](Context& ctx) -> Task<std::string> {
        const std::string what = "last";
        co_return co_await ctx.run(keyed, what);
      },
      {.timeout = 1min});
  Script script({last}, {keyed});
  script.on_activity = [&](const ActivityStart&) { script.fire(0); };
  script.start("last", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
}

TEST_F(Limit, AHistoryThatGrowsTooLongFailsTheWorkflowByName) {
  const auto endless = workflow(
      "endless",
      [](Context& ctx) -> Task<> {
        const std::string car = "car";
        ctx.compensate_with(undo, car);
        for (;;) co_await ctx.run(keyed, car);
      },
      {.max_history = 100});
  for (const bool evict : {false, true}) {
    Script script({endless}, {keyed, undo});
    script.evict_always = evict;
    script.start("endless", "null");
    script.settle();
    EXPECT_EQ(script.status, Status::failed);
    EXPECT_EQ(Json::parse(script.result())["type"], "HistoryTooLong");
    EXPECT_THAT(script.result(), HasSubstr("at most 100 are allowed"));
    EXPECT_EQ(effects.back(), "undo car");
    EXPECT_LT(script.history.size(), 110u);
  }
}

TEST_F(Limit, ALoopThatNeverWaitsIsRefusedByAnException) {
  const auto flood = workflow(
      "flood",
      [](Context& ctx) -> Task<> {
        for (;;) ctx.publish("everybody", 1);
      },
      {.max_history = 100});
  Script script({flood}, {});
  script.start("flood", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_THAT(script.result(), HasSubstr("its history has 200 rows"));
}

TEST_F(Limit, AWorkflowThatRecursInTimeGoesOnForEver) {
  const auto loop = workflow(
      "loop",
      [](Context& ctx, int round) -> Task<int> {
        while (ctx.history_length() < 90) co_await ctx.run(keyed, std::to_string(round));
        if (round == 5) co_return round;
        ctx.recur(round + 1);
      },
      {.max_history = 100});
  Script script({loop}, {keyed});
  script.start("loop", "0");
  script.settle();
  EXPECT_EQ(script.result(), "5");
  EXPECT_EQ(script.archive.size(), 5u);
}

TEST_F(Limit, OptionsOutOfRangeAreRefusedByName) {
  const auto body = [](Context&) -> Task<> { co_return; };
  const auto problem = [&](WorkflowOptions options) {
    const auto made = Registry::make({workflow("w", body, options)}, {});
    return made ? std::string() : made.error().text;
  };
  EXPECT_EQ(problem({}), "");
  EXPECT_THAT(problem({.timeout = -1ms}), HasSubstr("workflow 'w': timeout"));
  EXPECT_THAT(problem({.timeout = 24h * 366 * 1001}), HasSubstr("workflow 'w': timeout"));
  EXPECT_THAT(problem({.max_history = 99}), HasSubstr("workflow 'w': max_history: 99 is not in 100 .. 10000000"));
}

// ------------------------------------------------------------------------------------- competing channels and groups

const auto consumer = workflow("consumer", [](Context& ctx, int count) -> Task<std::vector<std::string>> {
  ctx.subscribe("jobs", ChannelMode::competing);
  std::vector<std::string> got;
  for (int i = 0; i < count; ++i) {
    got.push_back(co_await ctx.receive<std::string>("jobs"));
    co_await ctx.run(keyed, got.back());
  }
  co_return got;
});

TEST_F(Competing, AReceiveWaitsInTheDistributionAndEachMessageIsDoneOnce) {
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({consumer}, {keyed});
    script.evict_always = evict;
    script.start("consumer", "2");
    script.settle();
    EXPECT_EQ(script.waits.size(), 1u);
    ASSERT_TRUE(script.distribute("jobs", R"("a")"));
    script.settle();
    EXPECT_EQ(script.waits.size(), 1u) << "the next one";
    ASSERT_TRUE(script.distribute("jobs", R"("b")"));
    script.settle();
    EXPECT_EQ(script.result(), R"(["a","b"])");
    EXPECT_TRUE(script.waits.empty());
  }
}

TEST_F(Competing, AWaitThatTimesOutOrIsCancelledLeavesTheDistribution) {
  const auto patient = workflow("patient", [](Context& ctx) -> Task<std::string> {
    ctx.subscribe("jobs", ChannelMode::competing);
    auto got = co_await ctx.receive_for<std::string>("jobs", 1min);
    co_await ctx.sleep(1h);
    co_return got.value_or("nothing");
  });
  for (const bool evict : {false, true}) {
    Script script({patient}, {});
    script.evict_always = evict;
    script.start("patient", "null");
    script.settle();
    script.fire_next();
    script.settle();
    EXPECT_TRUE(script.waits.empty());
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.result(), R"("nothing")");

    Script cancelled({patient}, {});
    cancelled.evict_always = evict;
    cancelled.start("patient", "null");
    cancelled.settle();
    cancelled.cancel();
    cancelled.settle();
    EXPECT_EQ(cancelled.status, Status::cancelled);
    EXPECT_TRUE(cancelled.waits.empty());
  }
}

TEST_F(Competing, AMessageThatComesForAWaitThatIsOverGoesBackToItsChannel) {
  const auto racing = workflow("racing", [](Context& ctx) -> Task<> {
    ctx.subscribe("jobs", ChannelMode::competing);
    co_await ctx.when_any(ctx.receive<std::string>("jobs"), ctx.receive<int>("stop"));
    co_await ctx.sleep(1h);
  });
  for (const bool evict : {false, true}) {
    Script script({racing}, {});
    script.evict_always = evict;
    script.start("racing", "null");
    script.settle();
    script.message("stop", "1");
    ASSERT_TRUE(script.distribute("jobs", R"("for another")"));  // side by side
    script.settle();
    EXPECT_EQ(script.status, Status::running);
    EXPECT_THAT(script.given_back, ElementsAre(R"("for another")"));
  }
}

TEST_F(Competing, AMessageUnreadAtTheEndGoesBackToItsChannel) {
  const auto quits = workflow("quits", [](Context& ctx) -> Task<> {
    ctx.subscribe("jobs", ChannelMode::competing);
    co_await ctx.when_any(ctx.receive<std::string>("jobs"), ctx.receive<int>("stop"));
  });
  Script script({quits}, {});
  script.start("quits", "null");
  script.settle();
  script.message("stop", "1");
  ASSERT_TRUE(script.distribute("jobs", R"("for another")"));
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_THAT(script.given_back, ElementsAre(R"("for another")"));
}

TEST_F(Competing, ARefusedSubscriptionIsAnErrorOfReceiveThatReplaysAsTheSame) {
  const auto refused = workflow("refused", [](Context& ctx) -> Task<std::string> {
    ctx.subscribe("jobs", ChannelMode::competing);
    std::string how;
    try {
      co_await ctx.receive<std::string>("jobs");
    } catch (const ChannelModeConflict& e) {
      how = e.channel() + ": " + e.what();
    }
    co_await ctx.sleep(1s);
    try {
      co_await ctx.receive<std::string>("jobs");
    } catch (const ChannelModeConflict&) {
      how += ", still";
    }
    co_return how;
  });
  for (const bool evict : {false, true}) {
    Script script({refused}, {});
    script.evict_always = evict;
    script.start("refused", "null");
    script.settle();
    script.put(InboxKind::refused, 1, "jobs", R"({"type":"ChannelModeConflict","message":"it is broadcast"})");
    script.settle();
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.result(), R"("jobs: it is broadcast, still")");
  }
}

TEST_F(Competing, DeathAtAnyPointChangesNothing) {
  const auto play = [](Script& script) {
    script.start("consumer", "2");
    script.settle();
    EXPECT_TRUE(script.distribute("jobs", R"("a")"));
    script.settle();
    EXPECT_TRUE(script.distribute("jobs", R"("b")"));
    script.settle();
  };
  Script calm({consumer}, {keyed});
  play(calm);
  for (int point = 0; point < calm.points; ++point) {
    SCOPED_TRACE("death at point " + std::to_string(point));
    Script script({consumer}, {keyed});
    script.die_at = point;
    play(script);
    EXPECT_EQ(script.result(), R"(["a","b"])");
    EXPECT_TRUE(script.given_back.empty());
  }
}

TEST_F(Recorded, GroupsAreJoinedLeftAndPublishedToOnce) {
  const auto member = workflow("member", [](Context& ctx) -> Task<> {
    ctx.join("crew");
    ctx.join("night");
    ctx.leave("night");
    ctx.publish("news", 1, {.to_group = "crew"});
    co_await ctx.sleep(1s);
  });
  Script script({member}, {});
  script.evict_always = true;
  script.start("member", "null");
  script.settle();
  EXPECT_THAT(script.groups, ElementsAre("crew"));
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  ASSERT_EQ(script.messages.size(), 1u);
  EXPECT_EQ(script.messages[0].group, "crew");
}

TEST_F(Recorded, WaitEventSubscribesOnce) {
  const auto waits = workflow("waits", [](Context& ctx) -> Task<std::vector<std::int64_t>> {
    const auto one = co_await ctx.wait_event<int>("order.paid");
    const auto two = co_await ctx.wait_event<int>("order.paid");
    co_return std::vector<std::int64_t>{one.data, two.data, one.metadata.at("n").get<int>()};
  });
  Script script({waits}, {});
  script.evict_always = true;
  script.start("waits", "null");
  script.settle();
  EXPECT_EQ(script.subscriptions.count("order.paid"), 1u);
  script.message("order.paid", "1", R"({"n":5})");
  script.settle();
  script.message("order.paid", "2");
  script.settle();
  EXPECT_EQ(script.result(), "[1,2,5]");
  const std::string told = script.told(false);
  EXPECT_EQ(told.find("subscribed", told.find("subscribed") + 1), std::string::npos) << told;
}

}  // namespace
}  // namespace romancy::test
