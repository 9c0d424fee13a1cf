// Run: what a workflow asks for and is told, in one life.
#include <cmath>
#include <limits>

#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

struct Order {
  std::string id, card;
  std::int64_t cents = 0;
};
struct Receipt {
  std::string id;
  std::vector<int> parts;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, card, cents)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Receipt, id, parts)

const auto charge = activity("charge", [](Attempt& at, Order o) { return Receipt{o.id + "/" + at.key(), {1, 2, 3}}; });
const auto echo = activity("echo", [](Attempt&, Json value) { return value; });
const auto ping = activity("ping", [](Attempt&) {});

TEST(Run, AStructResultSurvivesSuspensionAndReplay) {
  const auto order = workflow("order", [](Context& ctx, Order o) -> Task<Receipt> {
    const Receipt receipt = co_await ctx.run(charge, o);
    co_await ctx.sleep(1s);
    co_return receipt;
  });
  Script script({order}, {charge});
  script.evict_always = true;
  script.start("order", R"({"id":"o-1","card":"4242","cents":950})");
  script.settle();
  EXPECT_EQ(script.status, Status::running);
  ASSERT_TRUE(script.fire_next());
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_EQ(script.result(), R"({"id":"o-1/i-1:1:0","parts":[1,2,3]})");
  EXPECT_EQ(script.attempts.size(), 1u);
  EXPECT_EQ(script.told(false),
            "1 started\n2 activity_completed 'charge' (operation 1)\n3 timer_started 'sleep' (operation 2)\n"
            "4 timer_fired 'sleep' (operation 2)\n5 completed\n");
}

TEST(Run, NothingAfterAnActivityStartsBeforeItsResultIsCommitted) {
  const auto twice = workflow("twice", [](Context& ctx) -> Task<> {
    co_await ctx.run(ping);
    co_await ctx.run(ping);
  });
  Script script({twice}, {ping});
  script.on_activity = [&](const ActivityStart& start) { EXPECT_EQ(script.history.size(), start.op == 1 ? 1u : 2u); };
  script.start("twice", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_EQ(script.result(), "null");
}

TEST(Run, InputThatDoesNotConvertFailsTheWorkflowAndNamesWhy) {
  const auto order = workflow("order", [](Context&, Order o) -> Task<std::string> { co_return o.id; });
  for (const char* input :
       {R"({"id":"o-1","card":"4242"})", R"("text")", "", "[1]", R"({"id":7,"card":"","cents":1})"}) {
    Script script({order}, {});
    script.start("order", input);
    script.settle();
    EXPECT_EQ(script.status, Status::failed) << input;
    EXPECT_THAT(script.result(), HasSubstr(R"("type":"BadData")"));
    EXPECT_THAT(script.result(), HasSubstr("input: "));
  }
}

TEST(Run, OutputThatIsNoJsonFailsTheWorkflow) {
  const auto bad = workflow("bad", [](Context&) -> Task<std::vector<double>> {
    co_return std::vector<double>{1.0, std::nan("")};
  });
  Script script({bad}, {});
  script.start("bad", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_THAT(script.result(), HasSubstr("output: /1: not a finite number"));
}

TEST(Run, AFailureRecordsTypeAndMessageEvenIfTheyCannotBeStored) {
  const auto bad = workflow("bad", [](Context&) -> Task<> {
    throw Broken(std::string("caf\xe9 \0 end", 10));
    co_return;
  });
  Script script({bad}, {});
  script.start("bad", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_THAT(script.result(), HasSubstr("Broken"));
  EXPECT_THAT(script.result(), HasSubstr("caf\xef\xbf\xbd "));
}

// ---------------------------------------------------------------------------------------------------------- activities

TEST(Run, AnActivityThatFailsForGoodIsAnExceptionThatCanBeCaught) {
  const auto decline =
      activity("decline", [](Attempt&, std::string) -> int { throw TerminalError("no money", "CardDeclined"); });
  const auto pay = workflow("pay", [&decline](Context& ctx, std::string card) -> Task<std::string> {
    std::string said;
    try {
      co_await ctx.run(decline, card);
    } catch (const ActivityError& e) {
      said = e.activity() + ":" + e.type() + ":" + e.message() + ":" + std::to_string(e.attempt());
    }
    const auto outcome = co_await ctx.attempt(decline, card);
    said += outcome ? "?" : " " + outcome.error().type();
    co_return said;
  });
  Script script({pay}, {decline});
  script.start("pay", R"("4242")");
  script.settle();
  EXPECT_EQ(script.result(), R"("decline:CardDeclined:no money:1 CardDeclined")");
  EXPECT_EQ(script.attempts.size(), 2u);
}

TEST(Run, AShortPauseBetweenAttemptsWaitsInMemoryAndWritesNothing) {
  const auto flaky = activity("flaky", [](Attempt& at) -> int {
    if (at.number() < 3) throw Broken("not yet");
    return at.number();
  });
  const auto once = workflow("once", [&flaky](Context& ctx) -> Task<int> { co_return co_await ctx.run(flaky); });
  Script script({once}, {flaky});
  script.start("once", "null");
  script.settle();
  EXPECT_EQ(script.result(), "3");
  EXPECT_EQ(script.told(false), "1 started\n2 activity_completed 'flaky' (operation 1)\n3 completed\n");
  ASSERT_EQ(script.attempts.size(), 3u);
  EXPECT_EQ(script.attempts[0].delay, 0ms);
  EXPECT_GE(script.attempts[1].delay, 80ms);
  EXPECT_LE(script.attempts[1].delay, 100ms);
  EXPECT_GT(script.attempts[2].delay, script.attempts[1].delay);
  EXPECT_EQ(script.attempts[2].key, script.attempts[0].key);
}

TEST(Run, ALongPauseWaitsInTheDatabaseAndTheAttemptsSurviveReplay) {
  const auto flaky = activity("flaky",
                              [](Attempt& at) -> int {
                                if (at.number() < 3) throw Broken("not yet");
                                return at.number();
                              },
                              {.retry = {.attempts = 3, .first_interval = 5s, .max_interval = 1min}});
  const auto once = workflow("once", [&flaky](Context& ctx) -> Task<int> { co_return co_await ctx.run(flaky); });
  Script script({once}, {flaky});
  script.evict_always = true;
  script.start("once", "null");
  script.settle();
  ASSERT_EQ(script.deadlines.size(), 1u);
  EXPECT_EQ(script.deadlines.at(1).kind, TimerKind::retry);
  script.message("other", "1");  // woken by something else it goes on pausing
  script.settle();
  EXPECT_EQ(script.attempts.size(), 1u);
  while (script.fire_next()) script.settle();
  EXPECT_EQ(script.result(), "3");
  EXPECT_EQ(script.told(false),
            "1 started\n2 activity_retry 'flaky' (operation 1)\n3 timer_fired 'retry' (operation 1)\n"
            "4 activity_retry 'flaky' (operation 1)\n5 timer_fired 'retry' (operation 1)\n"
            "6 activity_completed 'flaky' (operation 1)\n7 completed\n");
}

TEST(Run, AttemptsAreUsedUpAndTheLastErrorFailsTheWorkflow) {
  const auto never = activity("never", [](Attempt&) -> int { throw Broken("no"); }, {.retry = {.attempts = 4}});
  const auto once = workflow("once", [&never](Context& ctx) -> Task<int> { co_return co_await ctx.run(never); });
  Script script({once}, {never});
  script.start("once", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_EQ(script.attempts.size(), 4u);
  EXPECT_THAT(script.result(), HasSubstr("activity never failed at attempt 4"));
}

TEST(Run, AnActivityThisProgramDoesNotHaveIsAnErrorOfThatCall) {
  const auto call = workflow("call", [](Context& ctx) -> Task<std::string> {
    const auto outcome = co_await ctx.attempt(ping);
    co_return outcome.error().type();
  });
  Script script({call}, {});
  script.start("call", "null");
  script.settle();
  EXPECT_EQ(script.result(), R"("UnknownActivity")");
}

TEST(Run, AResultOfAnotherTypeIsAnErrorOfThatCall) {
  const auto text = activity("number", [](Attempt&) { return std::string("seven"); });
  const auto number = activity("number", [](Attempt&) { return 7; });
  const auto call = workflow("call", [&number](Context& ctx) -> Task<std::string> {
    const auto outcome = co_await ctx.attempt(number);
    co_return outcome.error().what();
  });
  Script script({call}, {text});
  script.start("call", "null");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("BadData: result: type must be number, but is string"));
}

TEST(Run, AValueThatIsNoJsonIsRefusedWhereItIsProduced) {
  const auto call = workflow("call", [](Context& ctx) -> Task<std::string> {
    std::string said;
    Json bad = {{"list", {1.0, std::numeric_limits<double>::infinity()}}};
    try {
      co_await ctx.run(echo, bad);
    } catch (const BadData& e) {
      said = e.what();
    }
    try {
      ctx.publish("x", std::string("a\0b", 3));
    } catch (const BadData& e) {
      said += std::string(" | ") + e.what();
    }
    try {
      ctx.send_event("t", "s", Json{{"k\xff", 1}});
    } catch (const BadData& e) {
      said += std::string(" | ") + e.what();
    }
    co_return said;
  });
  Script script({call}, {echo});
  script.start("call", "null");
  script.settle();
  EXPECT_THAT(script.result(),
              HasSubstr("input of activity echo: /list/1: not a finite number | "
                        "publish on channel x: has a NUL character | event t: a key: is not valid UTF-8"));
  EXPECT_TRUE(script.messages.empty());
}

TEST(Run, APayloadNestedTooDeepFailsTheReaderNotTheProcess) {
  const auto call = workflow("call", [](Context& ctx) -> Task<std::string> {
    std::string said;
    try {
      co_await ctx.receive<Json>("deep");
    } catch (const BadData& e) {
      said = e.what();
    }
    co_return said;
  });
  Script script({call}, {});
  script.start("call", "null");
  script.message("deep", std::string(5000, '[') + std::string(5000, ']'));
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("message on channel deep: nested deeper than 64 levels"));
}

// ------------------------------------------------------------------------------------------------------------ messages

const auto two = workflow("two", [](Context& ctx) -> Task<Json> {
  const int a = co_await ctx.receive<int>("a");
  const auto b = co_await ctx.receive_message<Json>("b");
  co_return Json{{"a", a}, {"b", b.data}, {"id", b.id}, {"metadata", b.metadata}};
});

TEST(Run, AMessageThatComesBeforeItsReaderWaitsForIt) {
  Script script({two}, {});
  script.start("two", "null");
  const auto id = script.message("b", R"({"x":1})", R"({"from":"me"})");
  script.settle();
  EXPECT_EQ(script.status, Status::running);
  ASSERT_EQ(script.inbox.size(), 1u);  // marked seen: it wakes nobody
  EXPECT_TRUE(script.inbox[0].seen);
  script.message("a", "1");
  script.settle();
  EXPECT_EQ(Json::parse(script.result()),
            (Json{{"a", 1}, {"b", {{"x", 1}}}, {"id", id}, {"metadata", {{"from", "me"}}}}));
}

TEST(Run, AMessageAnEarlierRunLeftBehindIsFoundBeforeALaterOne) {
  Script script({two}, {});
  script.evict_always = true;
  script.start("two", "null");
  script.message("b", R"("first")");
  script.settle();
  script.message("b", R"("second")");
  script.message("a", "1");
  script.settle();
  EXPECT_EQ(Json::parse(script.result())["b"], "first");
}

TEST(Run, ANullMessageIsAMessage) {
  const auto call = workflow("call", [](Context& ctx) -> Task<bool> {
    const Json data = co_await ctx.receive("a");
    co_return data.is_null();
  });
  Script script({call}, {});
  script.start("call", "null");
  script.message("a", "", "");
  script.settle();
  EXPECT_EQ(script.result(), "true");
}

TEST(Run, TheTimeoutOfAWaitThatAMessageWonIsDropped) {
  const auto call = workflow("call", [](Context& ctx) -> Task<int> {
    const int first = co_await ctx.receive<int>("a", {.within = 10s});
    const int second = co_await ctx.receive<int>("a", {.within = 10s});
    co_return first + second;
  });
  Script script({call}, {});
  script.start("call", "null");
  script.settle();
  script.message("a", "1");
  ASSERT_TRUE(script.fire(1));  // both came: the message first
  script.settle();
  EXPECT_TRUE(script.inbox.empty());
  EXPECT_FALSE(script.deadlines.contains(1));
  script.message("a", "2");
  script.settle();
  EXPECT_EQ(script.result(), "3");
}

TEST(Run, AMessageThatComesAfterTheTimeoutStaysForTheNextReader) {
  const auto call = workflow("call", [](Context& ctx) -> Task<std::string> {
    std::string said;
    try {
      co_await ctx.receive<int>("a", {.within = 10s});
    } catch (const TimedOut& e) {
      said = "timed out on " + e.channel();
    }
    if (const auto late = co_await ctx.receive_for<int>("a", 10s)) said += " then " + std::to_string(*late);
    if (!co_await ctx.receive_for<int>("a", 10s)) said += " then nothing";
    co_return said;
  });
  Script script({call}, {});
  script.start("call", "null");
  script.settle();
  script.fire(1);
  script.message("a", "7");
  script.settle();
  EXPECT_FALSE(script.deadlines.contains(2));  // answered in the same commit: never registered
  script.fire(3);
  script.settle();
  EXPECT_EQ(script.result(), R"("timed out on a then 7 then nothing")");
}

TEST(Run, AMessageThatDoesNotConvertIsConsumedAndNamed) {
  const auto call = workflow("call", [](Context& ctx) -> Task<std::string> {
    std::string said;
    try {
      const Order order = co_await ctx.receive<Order>("a");
      said = order.id;
    } catch (const BadData& e) {
      said = e.what();
    }
    const int next = co_await ctx.receive<int>("a");
    co_return said + " / " + std::to_string(next);
  });
  Script script({call}, {});
  script.start("call", "null");
  script.message("a", R"({"id":"o"})");
  script.message("a", "5");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("message on channel a: key 'card' not found / 5"));
}

TEST(Run, MoreMessagesThanFitInMemoryAllArriveInOrder) {
  constexpr int kAll = 1000;  // the mailbox keeps 256 of a channel
  const auto call = workflow("call", [](Context& ctx) -> Task<bool> {
    co_await ctx.receive<int>("go");
    for (int i = 0; i < kAll; ++i) {
      const int got = co_await ctx.receive<int>("a");
      if (got != i) throw Broken("got " + std::to_string(got) + " instead of " + std::to_string(i));
      if (i % 100 == 50) co_await ctx.run(ping);
    }
    co_return true;
  });
  for (const bool evict : {false, true}) {
    Script script({call}, {ping});
    script.evict_always = evict;
    script.inbox_limit = 70;
    script.seen_limit = 30;
    script.start("call", "null");
    for (int i = 0; i < kAll - 100; ++i) script.message("a", std::to_string(i));
    script.settle();
    script.message("go", "1");
    for (int i = kAll - 100; i < kAll; ++i) script.message("a", std::to_string(i));
    script.settle();
    EXPECT_EQ(script.status, Status::completed) << script.stuck << script.result();
  }
}

// --------------------------------------------------------------------------------------------- commands and the clock

TEST(Run, CommandsLeaveOnceHoweverOftenTheWorkflowIsReplayed) {
  const auto call = workflow("call", [](Context& ctx) -> Task<> {
    ctx.subscribe("news");
    ctx.publish("out", Json{{"n", 1}}, {.to = "other", .metadata = {{"m", 2}}});
    ctx.send_event("order.shipped", "shop", Order{"o", "c", 1});
    co_await ctx.sleep(1s);
    ctx.unsubscribe("news");
    co_await ctx.sleep(1s);
  });
  Script script({call}, {});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  EXPECT_EQ(script.subscriptions, std::set<std::string>{"news"});
  script.message("x", "1");  // wakes it for nothing
  script.settle();
  script.fire_next();
  script.settle();
  EXPECT_TRUE(script.subscriptions.empty());
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  ASSERT_EQ(script.messages.size(), 1u);
  EXPECT_EQ(
      script.messages[0].channel + script.messages[0].data + script.messages[0].metadata + *script.messages[0].target,
      R"(out{"n":1}{"m":2}other)");
  ASSERT_EQ(script.outbox.size(), 1u);
  EXPECT_EQ(script.outbox.begin()->first, "i-1:3:0:event");
}

TEST(Run, NowRandomAndUuidAreTheSameInEveryReplay) {
  static std::set<std::string> seen;
  seen.clear();
  const auto call = workflow("call", [](Context& ctx) -> Task<> {
    const auto now = ctx.now();
    const auto random = ctx.random();
    const auto uuid = ctx.uuid();
    EXPECT_NE(random, ctx.random());
    EXPECT_NE(uuid, ctx.uuid());
    EXPECT_EQ(uuid.size(), 36u);
    seen.insert(std::to_string(now.time_since_epoch().count()) + "/" + std::to_string(random) + "/" + uuid);
    co_await ctx.sleep(1h);
    EXPECT_EQ(ctx.now() - now, 1h);
    co_await ctx.sleep(1h);
  });
  Script script({call}, {});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  while (script.fire_next()) script.settle();
  EXPECT_EQ(script.status, Status::completed) << script.stuck;
  EXPECT_EQ(seen.size(), 1u);
}

TEST(Run, AMomentThatIsOverTakesItsOperationNumberAllTheSame) {
  const auto call = workflow("call", [](Context& ctx) -> Task<> {
    co_await ctx.sleep_until(std::chrono::system_clock::time_point(1'000'000us));
    co_await ctx.sleep(-5s);
    co_await ctx.sleep(500ms);
  });
  Script script({call}, {});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  EXPECT_EQ(script.deadlines.at(1).at, "1970-01-01T00:00:01.000000Z");
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.deadlines.at(2).due_us, script.clock_us);
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.deadlines.at(3).due_us, script.clock_us + 500'000);
}

TEST(Run, NamesThatTheDatabaseWouldRefuseAreRefusedInTheWorkflow) {
  const auto call = workflow("call", [](Context& ctx, std::string channel) -> Task<> {
    ctx.publish(channel, 1);
    co_return;
  });
  for (const std::string& name : {std::string(), std::string(256, 'x'), std::string("a\\n")}) {
    Script script({call}, {});
    script.start("call", "\"" + name + "\"");
    script.settle();
    EXPECT_EQ(script.status, Status::failed) << name;
    EXPECT_THAT(script.result(), HasSubstr("publish: channel: "));
  }
}

// ----------------------------------------------------------------------------------------------------- sub-coroutines

Task<int> deeper(Context& ctx, int levels) {
  if (levels == 0) {
    co_await ctx.sleep(1s);
    co_return 0;
  }
  const int below = co_await deeper(ctx, levels - 1);
  if (below == 5) throw Broken("at five");
  co_return below + 1;
}

TEST(Run, SubCoroutinesHandOnValuesAndExceptions) {
  const auto call = workflow("call", [](Context& ctx, int levels) -> Task<int> {
    int reached = -1;
    try {
      reached = co_await deeper(ctx, levels);
    } catch (const Broken&) {
      reached = 1000;
    }
    co_return reached;
  });
  for (const auto& [levels, expected] : {std::pair{4, "4"}, std::pair{40, "1000"}}) {
    Script script({call}, {});
    script.evict_always = true;
    script.start("call", std::to_string(levels));
    script.settle();
    script.fire_next();
    script.settle();
    EXPECT_EQ(script.result(), expected);
  }
}

}  // namespace
}  // namespace romancy::test
