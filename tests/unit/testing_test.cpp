// romancy/testing.hpp as a user's test sees it: each test is a promise of that header or of docs/testing.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <romancy/romancy.hpp>
#include <romancy/testing.hpp>

namespace helpers {

using namespace std::chrono_literals;
using romancy::Attempt, romancy::Context, romancy::Json, romancy::Task;
using romancy::testing::Environment, romancy::testing::ErrorInfo, romancy::testing::Failure;
using ::testing::ElementsAre, ::testing::HasSubstr, ::testing::Not;

template <class F>
std::string failure_of(F call) {
  try {
    call();
  } catch (const Failure& e) {
    return e.what();
  }
  ADD_FAILURE() << "no Failure was thrown";
  return {};
}

struct Order {
  std::string id;
  std::int64_t cents = 0;
};
struct Receipt {
  std::string id;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, cents)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Receipt, id)

int real_calls = 0;
const auto charge = romancy::activity(
    "charge",
    [](Attempt&, Order order) {
      ++real_calls;
      return Receipt{"real-" + order.id};
    },
    {.retry = {.attempts = 3, .first_interval = 10s, .coefficient = 2, .max_interval = 1min, .jitter = 0}, .timeout = 30s});
const auto refund = romancy::activity("refund", [](Attempt&, Receipt) {}, {.retry = {.attempts = 2, .first_interval = 1ms}});
const auto book = romancy::transactional("book", [](romancy::Transaction&, Order) { return true; });
const auto poll = romancy::async_activity("poll", [](romancy::AsyncAttempt&, Order) -> romancy::Async<int> { co_return 1; });
const romancy::QueuedActivity<Order, int> elsewhere("elsewhere", {.retry = {.attempts = 2, .first_interval = 1min, .max_interval = 1min, .jitter = 0}, .queue = "gpu"});

const auto pay = romancy::workflow("pay", [](Context& ctx, Order order) -> Task<std::string> {
  ctx.set_status("charging");
  const auto receipt = co_await ctx.run(charge, order);
  ctx.compensate_with(refund, receipt);
  ctx.set_status("waiting");
  const auto word = co_await ctx.receive_for<std::string>("word", 1h);
  if (!word) throw std::runtime_error("nobody said a word");
  co_await ctx.sleep(24h);
  ctx.send_event("paid", "shop", order);
  ctx.publish("sales", order);
  co_return receipt.id + " " + *word;
});
const Order kOrder{"o-1", 950};

TEST(TestingEnvironment, TheClockJumpsAndNothingSleeps) {
  Environment env({pay}, {charge, refund});
  env.mock(charge).returns({"r-1"}).takes(2s);
  env.start(pay, kOrder, "o-1");
  env.at(5min).send("word", "yes");
  env.run();
  EXPECT_EQ(env.result<std::string>(), "r-1 yes");
  EXPECT_EQ(env.elapsed(), 5min + 24h);
  EXPECT_EQ(env.now(), std::chrono::sys_days(std::chrono::year(2026) / 1 / 2) + 5min);
  EXPECT_EQ(env.status_value<std::string>(), "waiting");
  ASSERT_EQ(env.events().size(), 1u);
  EXPECT_EQ(env.events()[0].type, "paid");
  EXPECT_EQ(env.events()[0].as<Order>().cents, 950);
  ASSERT_EQ(env.published().size(), 1u);
  EXPECT_EQ(env.published()[0].channel, "sales");
}

TEST(TestingEnvironment, HistoryIsComparedWithAText) {
  Environment env({pay}, {charge, refund});
  env.mock(charge).returns({"r-1"});
  env.start(pay, kOrder, "o-1");
  env.at(1s).send("word", "yes");
  env.run();
  EXPECT_EQ(env.history().text(false),
            "1 started\n"
            "2 activity_completed 'charge' (operation 1)\n"
            "3 wait_started 'word' (operation 3)\n"
            "4 message_received 'word' (operation 3)\n"
            "5 timer_started 'sleep' (operation 4)\n"
            "6 timer_fired 'sleep' (operation 4)\n"
            "7 event_sent 'paid' (operation 5)\n"
            "8 published 'sales' (operation 6)\n"
            "9 completed\n");
  EXPECT_EQ(env.history().events[1].as<Receipt>().id, "r-1");
  EXPECT_EQ(env.history().count("timer_started"), 1);
  EXPECT_EQ(env.history().count("timer_started", "nap"), 0);
}

TEST(TestingEnvironment, WhatIsNotMockedIsTheRealFunction) {
  real_calls = 0;
  Environment env({pay}, {charge, refund});
  env.start(pay, kOrder);
  env.at(0s).send("word", "ok");
  env.run();
  EXPECT_EQ(env.result<std::string>("pay-1"), "real-o-1 ok");
  EXPECT_EQ(real_calls, 1);
  EXPECT_EQ(env.attempts().at(0).as<Order>().id, "o-1");
}

TEST(TestingEnvironment, RetriesPauseByTheClockOfTheTest) {
  Environment env({pay}, {charge, refund});
  const auto mock = env.mock(charge);
  mock.fails("BankAway").times(2).returns({"r-3"}).takes(1s);
  env.start(pay, kOrder, "o-1");
  env.run_for(31s);
  ASSERT_EQ(mock.calls().size(), 3u);
  EXPECT_EQ(mock.calls()[1].at, 10s);
  EXPECT_EQ(mock.calls()[2].at, 30s);
  EXPECT_EQ(mock.calls()[2].attempt, 3);
  EXPECT_EQ(mock.calls()[2].key, mock.calls()[0].key);
  EXPECT_EQ(env.history().count("activity_retry", "charge"), 2);
  EXPECT_EQ(env.history().count("activity_completed", "charge"), 1);
  EXPECT_EQ(env.elapsed(), 31s);
}

TEST(TestingEnvironment, AnActivityThatFailsForGoodIsNotTriedAgain) {
  Environment env({pay}, {charge, refund});
  const auto mock = env.mock(charge);
  mock.fails_for_good("CardDeclined", "no money");
  env.start(pay, kOrder);
  env.run();
  EXPECT_EQ(mock.calls().size(), 1u);
  EXPECT_EQ(env.status(), "failed");
  EXPECT_THAT(env.error().message, HasSubstr("CardDeclined: no money"));
  EXPECT_THAT(failure_of([&] { (void)env.result<std::string>(); }), HasSubstr("instance 'pay-1' of workflow 'pay' failed with"));
}

TEST(TestingEnvironment, AnAttemptThatHangsIsEndedByItsTimeOut) {
  Environment env({pay}, {charge, refund});
  env.mock(charge).hangs().times(2).returns({"late"}).takes(31s);
  env.start(pay, kOrder);
  env.run();
  EXPECT_THAT(env.error().message, HasSubstr("AttemptTimedOut"));
  EXPECT_EQ(env.elapsed(), 3 * 30s + 10s + 20s);
}

TEST(TestingEnvironment, CompensationsRunWhenTheTimeIsOver) {
  Environment env({pay}, {charge, refund});
  const auto undone = env.mock(refund);
  undone.returns();
  env.start(pay, kOrder);
  env.run();
  EXPECT_EQ(env.status(), "failed");
  EXPECT_EQ(env.elapsed(), 1h);
  ASSERT_EQ(undone.calls().size(), 1u);
  EXPECT_EQ(undone.calls()[0].as<Receipt>().id, "real-o-1");
}

TEST(TestingEnvironment, ACompensationThatFailsForGoodWaitsForADecision) {
  Environment env({pay}, {charge, refund});
  env.mock(refund).fails("Away").times(2).returns();
  env.start(pay, kOrder);
  env.run();
  EXPECT_EQ(env.status(), "compensating");
  EXPECT_THAT(env.waits_for(), HasSubstr("refund"));
  env.retry_compensations();
  env.run();
  EXPECT_EQ(env.status(), "failed");
}

TEST(TestingEnvironment, ACancellationComesAtItsMomentAndIsCompensated) {
  Environment env({pay}, {charge, refund});
  env.start(pay, kOrder);
  env.at(10min).cancel("changed my mind");
  env.run();
  EXPECT_EQ(env.error(), (ErrorInfo{"WorkflowCancelled", "changed my mind"}));
  EXPECT_EQ(env.elapsed(), 10min);
  EXPECT_EQ(env.history().count("activity_completed", "refund"), 1);
}

TEST(TestingEnvironment, ACancellationWaitsForTheAttemptUnderWayAndStopsOneThatHangs) {
  for (const bool hangs : {false, true}) {
    Environment env({pay}, {charge, refund});
    if (hangs) env.mock(charge).hangs();
    else env.mock(charge).returns({"r"}).takes(20s);
    env.start(pay, kOrder);
    env.at(5s).cancel();
    env.run();
    EXPECT_EQ(env.status(), "cancelled");
    EXPECT_EQ(env.elapsed(), hangs ? 5s : 20s);
    EXPECT_EQ(env.history().count("activity_completed", "charge"), hangs ? 0 : 1);
  }
}

TEST(TestingEnvironment, WhatAnInstanceWaitsForIsSaidInWords) {
  Environment env({pay}, {charge, refund});
  env.start(pay, kOrder, "o-1");
  env.run_for(1min);
  EXPECT_EQ(env.status(), "running");
  EXPECT_EQ(env.waits_for(), "a message on channel 'word' (operation 3)");
  EXPECT_EQ(failure_of([&] { (void)env.result<std::string>(); }),
            "no result: instance 'o-1' of workflow 'pay' is running, and waits for a message on channel 'word' (operation 3). "
            "Nothing more happens by itself until then");
}

// ---- misuse

TEST(TestingEnvironment, MisuseIsAFailureThatNamesIt) {
  Environment env({pay}, {charge, refund, book});
  EXPECT_EQ(failure_of([&] { env.send("word", "x"); }), "nothing was started");
  env.start(pay, kOrder, "o-1");
  EXPECT_EQ(failure_of([&] { env.start(pay, kOrder, "o-1"); }), "start: there is an instance 'o-1' already");
  EXPECT_EQ(failure_of([&] { env.send("word", "x", "o-2"); }), "there is no instance 'o-2'; there are: o-1");
  EXPECT_THAT(failure_of([&] { (void)env.error(); }), HasSubstr("no error: instance 'o-1' of workflow 'pay' is running"));
  EXPECT_THAT(failure_of([&] { (void)env.status_value<int>(); }), HasSubstr("has not called ctx.set_status()"));
  EXPECT_THAT(failure_of([&] { env.mock(charge).takes(1s); }), HasSubstr("takes() and times() follow a step"));
  EXPECT_THAT(failure_of([&] { env.run(); }), HasSubstr("'charge' is mocked, but the test does not say what comes of it"));
  EXPECT_THAT(failure_of([] { Environment twice({pay, pay}); }), HasSubstr("workflow 'pay' is registered twice"));
  const romancy::WorkflowName<Order, int> other("other");
  EXPECT_THAT(failure_of([&] { env.start(other, kOrder); }), HasSubstr("workflow 'other' was not given to the Environment"));
}

TEST(TestingEnvironment, TransactionalAndAsynchronousActivitiesMustBeMocked) {
  const auto both = romancy::workflow("both", [](Context& ctx, Order order) -> Task<int> {
    const bool done = co_await ctx.run(book, order);
    const int polled = co_await ctx.run(poll, order);
    co_return polled + (done ? 1 : 0);
  });
  for (const int mocked : {0, 1, 2}) {
    Environment env({both}, {book, poll});
    if (mocked > 0) env.mock(book).returns(true);
    if (mocked > 1) env.mock(poll).does([] { return 41; });
    env.start(both, kOrder);
    if (mocked == 2) {
      env.run();
      EXPECT_EQ(env.result<int>(), 42);
      continue;
    }
    EXPECT_THAT(failure_of([&] { env.run(); }),
                HasSubstr(mocked == 0 ? "activity 'book' is transactional, it needs a database: mock it"
                                      : "activity 'poll' is asynchronous, it needs a worker's loop: mock it"));
    env.mock(book).returns(false);  // too late for the first run(), in time for the next
    env.mock(poll).returns(1);
    env.run();
    EXPECT_EQ(env.result<int>(), mocked == 0 ? 1 : 2);
  }
}

TEST(TestingEnvironment, AnActivityNobodyHasFailsAsInAProgramWithoutIt) {
  Environment env({pay});
  env.start(pay, kOrder);
  env.run();
  EXPECT_THAT(env.error().message, HasSubstr("UnknownActivity"));
}

TEST(TestingEnvironment, AWorkflowThatGoesOnForEverIsAFailureOrRunsForATime) {
  const auto tick = romancy::workflow("tick", [](Context& ctx) -> Task<> {
    for (int n = 0;; ++n) {
      ctx.set_status(n);
      co_await ctx.sleep(1min);
    }
  });
  Environment env({tick}, {}, {.most_steps = 50});
  env.start(tick);
  env.run_for(10min);
  EXPECT_EQ(env.status_value<int>(), 10);
  EXPECT_THAT(failure_of([&] { env.run(); }), HasSubstr("no end after 50 steps"));
  EXPECT_THAT(failure_of([&] { env.run(); }), HasSubstr("'tick-1' waits for sleep (operation"));
}

// ---- determinism

TEST(TestingEnvironment, ForgettingAtEveryStepFindsCodeThatDoesNotDoTheSame) {
  static int runs;
  const auto moody = romancy::workflow("moody", [](Context& ctx) -> Task<int> {
    if (++runs % 2 == 0) co_await ctx.sleep(1s);
    co_await ctx.receive<int>("a");
    co_return runs;
  });
  for (const bool forget : {false, true}) {
    runs = 0;
    Environment env({moody}, {}, {.forget_at_every_step = forget});
    env.start(moody);
    env.at(1min).send("a", 1);
    env.run();
    EXPECT_EQ(env.status(), forget ? "stuck" : "completed");
    EXPECT_THAT(env.waits_for(), HasSubstr(forget ? "mismatch: history has wait_started 'a' (operation 1) at seq 2, but the code did timer_started 'sleep'" : "it is completed"));
  }
}

TEST(TestingEnvironment, ForgettingIsAlsoDoneBesideAnAttemptUnderWay) {
  static int runs;
  const auto moody = romancy::workflow("moody", [](Context& ctx, Order order) -> Task<int> {
    ctx.publish(++runs % 2 == 0 ? "even" : "odd", 1);
    const auto receipt = co_await ctx.run(charge, order);
    co_return static_cast<int>(receipt.id.size());
  });
  runs = 0;
  Environment env({moody}, {charge});
  env.mock(charge).returns({"r"}).takes(20s);
  env.start(moody, kOrder);
  env.run();
  EXPECT_EQ(env.status(), "completed");
  runs = 0;
  Environment forgetful({moody}, {charge}, {.forget_at_every_step = true});
  forgetful.mock(charge).returns({"r"}).takes(20s);
  forgetful.start(moody, kOrder);
  forgetful.run();
  EXPECT_EQ(forgetful.status(), "stuck");
  EXPECT_THAT(forgetful.waits_for(), HasSubstr("history has published 'odd' (operation 1) at seq 2, but the code did published 'even'"));
}

TEST(TestingEnvironment, TimeRandomAndIdsAreTheSameHoweverOftenItIsForgotten) {
  const auto values = romancy::workflow("values", [](Context& ctx) -> Task<Json> {
    Json all = Json::array({ctx.uuid(), ctx.random(), romancy::Json(std::chrono::duration_cast<std::chrono::seconds>(ctx.now().time_since_epoch()).count())});
    co_await ctx.sleep(1h);
    all.push_back(ctx.side_effect("dice", [] { return 4; }));
    co_await ctx.sleep(1h);
    co_return all;
  });
  Json first;
  for (const bool forget : {false, true}) {
    Environment env({values}, {}, {.starts_at = std::chrono::sys_days(std::chrono::year(2030) / 6 / 1), .forget_at_every_step = forget});
    env.start(values, "v");
    env.run();
    if (!forget) first = env.result<Json>();
    EXPECT_EQ(env.result<Json>(), first);
    EXPECT_EQ(env.result<Json>()[2], 1906502400);
  }
}

TEST(TestingEnvironment, AWorkerMayDieAtEveryPoint) {
  int deaths = 0;
  for (int point = 0;; ++point) {
    ASSERT_LT(point, 100);
    Environment env({pay}, {charge, refund});
    const auto mock = env.mock(charge);
    mock.returns({"r-1"}).takes(3s);
    env.die_at(point);
    env.start(pay, kOrder, "o-1");
    env.at(5min).send("word", "yes");
    env.run();
    EXPECT_EQ(env.result<std::string>(), "r-1 yes");
    EXPECT_EQ(env.events().size(), 1u) << "point " << point;
    for (const auto& call : mock.calls()) EXPECT_EQ(call.key, "o-1:1:0");
    if (!env.died()) break;
    ++deaths;
  }
  EXPECT_GT(deaths, 8);
}

TEST(TestingEnvironment, AnotherVersionTakesOver) {
  const auto before = romancy::workflow("long", [](Context& ctx) -> Task<std::string> {
    co_await ctx.sleep(1h);
    co_return "old";
  });
  const auto after = romancy::workflow("long", [](Context& ctx) -> Task<std::string> {
    const bool now = ctx.patched("greeting");
    co_await ctx.sleep(1h);
    if (now) co_await ctx.sleep(1h);
    co_return now ? "new" : "as old";
  });
  const auto wrong = romancy::workflow("long", [](Context& ctx) -> Task<std::string> {
    co_await ctx.receive<int>("a");
    co_return "wrong";
  });
  Environment env({before});
  env.start(before, "a");
  env.run_for(1min);
  env.deploy({wrong}, {});
  env.run_for(1min);
  EXPECT_EQ(env.status("a"), "stuck");
  EXPECT_THAT(env.waits_for("a"), HasSubstr("mismatch: history has timer_started 'sleep' (operation 1) at seq 2"));
  env.deploy({after}, {});
  env.start(after, "b");
  env.run();
  EXPECT_EQ(env.result<std::string>("a"), "as old");
  EXPECT_EQ(env.result<std::string>("b"), "new");
}

// ---- children

const auto half = romancy::workflow("half", [](Context& ctx, int n) -> Task<int> {
  co_await ctx.sleep(std::chrono::seconds(n));
  if (n % 2 != 0) throw std::invalid_argument("odd");
  co_return n / 2;
});
const romancy::WorkflowName<int, int> faraway("faraway", "warehouse");

TEST(TestingEnvironment, ChildrenRunInTheSameEnvironment) {
  const auto parent = romancy::workflow("parent", [](Context& ctx) -> Task<std::string> {
    const auto first = ctx.start_child(half, 10);
    const int four = co_await ctx.child(half, 8, {.id = "eight"});
    const int five = co_await first.result();
    std::string error;
    try {
      co_await ctx.child(half, 3);
    } catch (const romancy::ChildError& e) {
      error = e.message();
    }
    co_return std::to_string(four) + std::to_string(five) + error;
  });
  Environment env({parent, half}, {}, {.forget_at_every_step = true});
  env.start(parent, "p");
  env.run();
  EXPECT_EQ(env.result<std::string>("p"), "45odd");
  EXPECT_EQ(env.result<int>("eight"), 4);
  EXPECT_EQ(env.elapsed(), 13s);
  ASSERT_EQ(env.started().size(), 3u);
  EXPECT_TRUE(env.started()[0].child);
}

TEST(TestingEnvironment, ParentAndChildrenSurviveEveryDeathOfTheirWorker) {
  const auto parent = romancy::workflow("parent", [](Context& ctx) -> Task<int> {
    const auto one = ctx.start_child(half, 10);
    const int two = co_await ctx.child(half, 8);
    ctx.publish("sum", two);
    co_return two + co_await one.result();
  });
  bool died = true;
  for (int point = 0; died; ++point) {
    ASSERT_LT(point, 200);
    Environment env({parent, half});
    env.die_at(point);
    env.start(parent, "p");
    env.run();
    EXPECT_EQ(env.result<int>("p"), 9) << "point " << point;
    EXPECT_EQ(env.started().size(), 2u);
    EXPECT_EQ(env.published().size(), 1u);
    EXPECT_EQ(env.elapsed(), 10s);
    died = env.died();
  }
}

TEST(TestingEnvironment, AMockedChildDoesWhatTheMockSays) {
  const auto parent = romancy::workflow("parent", [](Context& ctx) -> Task<int> {
    const int one = co_await ctx.child(faraway, 1);
    int two = 0;
    try {
      two = co_await ctx.child(faraway, 2);
    } catch (const romancy::ChildError& e) {
      two = e.type() == "SoldOut" ? 20 : 0;
    }
    co_return one + two;
  });
  Environment env({parent});
  const auto mock = env.mock(faraway);
  mock.does([](int n) { return 10 * n; }).takes(1h).fails("SoldOut").takes(1min);
  env.start(parent);
  env.run();
  EXPECT_EQ(env.result<int>(), 30);
  EXPECT_EQ(env.elapsed(), 1h + 1min);
  EXPECT_EQ(mock.calls().at(1).as<int>(), 2);
}

TEST(TestingEnvironment, AChildThatIsNotRunHereIsEndedByTheTest) {
  const auto parent = romancy::workflow("parent", [](Context& ctx) -> Task<int> {
    const auto first = ctx.start_child(faraway, 1, {.id = "far-1"});
    const int n = co_await first.result();
    const auto second = ctx.start_child(faraway, 2);
    second.cancel("enough");
    try {
      co_await second.result();
    } catch (const romancy::ChildError& e) {
      if (e.type() == "WorkflowCancelled" && e.message() == "enough") co_return n;
    }
    co_return 0;
  });
  Environment env({parent});
  env.start(parent);
  env.run();
  EXPECT_EQ(env.waits_for(),
            "a child of workflow 'faraway' (operation 2); workflow 'faraway' of the child 'far-1' is not run here: mock it, or give it "
            "to the Environment");
  env.complete(faraway, 7);
  env.run();
  EXPECT_EQ(env.result<int>(), 7);
  EXPECT_THAT(failure_of([&] { env.complete(faraway, 7); }), HasSubstr("no child of workflow 'faraway' waits"));
}

TEST(TestingEnvironment, ChildrenThatFollowAreCancelledWithTheirParent) {
  const auto parent = romancy::workflow("parent", [](Context& ctx) -> Task<> {
    ctx.start_child(half, 1000, {.id = "follows"});
    ctx.start_child(half, 1000, {.id = "stays", .follows = false});
    const std::string again = ctx.start_workflow(half, 2, {.id = "stays"});
    co_await ctx.receive<int>(again);
  });
  Environment env({parent, half});
  env.start(parent, "p");
  env.at(1min).cancel("over");
  env.run();
  EXPECT_EQ(env.error("follows"), (ErrorInfo{"WorkflowCancelled", "its parent p has ended"}));
  EXPECT_EQ(env.result<int>("stays"), 500);
}

// ---- queued activities

const auto queued = romancy::workflow("queued", [](Context& ctx, Order order) -> Task<int> {
  const int result = co_await ctx.run(elsewhere, order);
  co_await ctx.sleep(1ms);
  co_return result;
});

TEST(TestingEnvironment, AQueuedActivityIsCarriedOutByAMockOrByTheTest) {
  {
    Environment env({queued});
    env.mock(elsewhere).fails("Busy").takes(5s).returns(7).takes(10s);
    env.start(queued, kOrder);
    env.run();
    EXPECT_EQ(env.result<int>(), 7);
    EXPECT_EQ(env.elapsed(), 5s + 1min + 10s + 1ms);
  }
  Environment env({queued});
  env.start(queued, kOrder);
  env.run();
  EXPECT_THAT(env.waits_for(), HasSubstr("activity 'elsewhere' is queued on 'gpu', and nobody here carries it out"));
  env.at(1h).complete(elsewhere, 8);
  env.run();
  EXPECT_EQ(env.result<int>(), 8);
}

TEST(TestingEnvironment, AnAttemptOfAQueuedActivityReadsWhatTheOneBeforeItTold) {
  const auto page = romancy::activity("page", [](Attempt& at) {
    const int done = at.details<int>().value_or(0);
    at.heartbeat(done + 1);
    if (done < 2) throw std::runtime_error("interrupted");
    return done;
  }, {.retry = {.attempts = 5, .jitter = 0}, .queue = "gpu"});
  const auto reader = romancy::workflow("reader", [&page](Context& ctx) -> Task<int> { co_return co_await ctx.run(page); });
  const auto plain = romancy::activity("plain", [](Attempt& at) { at.heartbeat(1); }, {.retry = {.attempts = 1}});
  const auto talker = romancy::workflow("talker", [&plain](Context& ctx) -> Task<> { co_await ctx.run(plain); });
  Environment env({reader, talker}, {page, plain});
  const auto id = env.start(reader);
  const auto wrong = env.start(talker);
  env.run();
  EXPECT_EQ(env.result<int>(id), 2);
  EXPECT_THAT(env.error(wrong).message, HasSubstr("not queued"));
}

TEST(TestingEnvironment, ACancellationTakesAQueuedActivityBackOrStopsIt) {
  for (const int how : {0, 1, 2}) {
    Environment env({queued});
    if (how == 1) env.mock(elsewhere).hangs();
    if (how == 2) env.mock(elsewhere).returns(1).takes(1min);
    env.start(queued, kOrder);
    env.at(10s).cancel("x");
    env.run();
    EXPECT_EQ(env.status(), how == 1 ? "failed" : "cancelled");
    EXPECT_THAT(env.error().message, HasSubstr(how == 1 ? "Stopped" : "x"));
    EXPECT_EQ(env.elapsed(), how == 2 ? 60s : 10s);
    EXPECT_EQ(env.history().count("activity_completed"), how == 2 ? 1 : 0);
    EXPECT_EQ(env.history().count("activity_failed"), how == 1 ? 1 : 0);
  }
}

TEST(TestingEnvironment, AnAttemptThatHangsIsEndedByTheTest) {
  Environment env({pay}, {charge, refund});
  env.mock(charge).hangs();
  env.start(pay, kOrder);
  env.at(12s).complete(charge, Receipt{"by hand"}).send("word", "!");
  env.run();
  EXPECT_EQ(env.result<std::string>(), "by hand !");
  EXPECT_THAT(failure_of([&] { env.fail(charge, "X"); }), HasSubstr("no attempt of activity 'charge' hangs"));
}

// ---- between instances

TEST(TestingEnvironment, BroadcastsGroupsAndDirectMessagesFindTheirReaders) {
  const auto reader = romancy::workflow("reader", [](Context& ctx, std::string group) -> Task<std::string> {
    ctx.join(group);
    ctx.subscribe("news");
    std::string all;
    for (int i = 0; i < 2; ++i) all += co_await ctx.receive<std::string>("news");
    const auto others = co_await ctx.members(group);
    co_return all + std::to_string(others.size());
  });
  const auto writer = romancy::workflow("writer", [](Context& ctx) -> Task<> {
    ctx.publish("news", "b");
    ctx.publish("news", "g", {.to_group = "even"});
    ctx.publish("news", "d", {.to = "r-1"});
    co_return;
  });
  Environment env({reader, writer}, {}, {.forget_at_every_step = true});
  for (int i = 0; i < 3; ++i) env.start(reader, i % 2 == 0 ? "even" : "odd", "r-" + std::to_string(i));
  env.run();
  env.start(writer);
  env.run();
  EXPECT_EQ(env.result<std::string>("r-0"), "bg2");
  EXPECT_EQ(env.result<std::string>("r-1"), "bd1");
  env.publish("news", "nobody");
}

TEST(TestingEnvironment, WhatTheTestPublishesReachesAGroupAndCarriesMetadata) {
  const auto member = romancy::workflow("member", [](Context& ctx) -> Task<std::string> {
    ctx.join("all");
    const auto message = co_await ctx.receive_message<std::string>("news");
    const auto direct = co_await ctx.receive_message<std::string>("direct");
    co_return message.data + direct.metadata.value("from", "");
  });
  Environment env({member});
  env.start(member, "m-1");
  env.start(member, "m-2");
  env.run();
  env.publish_to_group("all", "news", "hi ").send("direct", 0, "m-2");
  for (const char* id : {"m-1", "m-2"}) env.send("direct", "x", id, {{"from", id}});
  env.run();
  EXPECT_EQ(env.result<std::string>("m-1"), "hi m-1");
  EXPECT_THAT(env.error("m-2").message, HasSubstr("must be string")) << "the first direct message is a number";
}

TEST(TestingEnvironment, ASleepUntilAMomentEndsAtThatMoment) {
  const auto until = romancy::workflow("until", [](Context& ctx) -> Task<> {
    co_await ctx.sleep_until(std::chrono::sys_days(std::chrono::year(2026) / 3 / 1) + 90min);
    co_await ctx.sleep_until(std::chrono::sys_days(std::chrono::year(2020) / 1 / 1));  // long ago: now
  });
  Environment env({until});
  env.start(until);
  env.run();
  EXPECT_EQ(env.status(), "completed");
  EXPECT_EQ(env.now(), std::chrono::sys_days(std::chrono::year(2026) / 3 / 1) + 90min);
}

TEST(TestingEnvironment, AMessageOfACompetingChannelMeetsTheOldestWait) {
  const auto server = romancy::workflow("server", [](Context& ctx) -> Task<int> {
    ctx.subscribe("jobs", romancy::ChannelMode::competing);
    co_return co_await ctx.receive<int>("jobs");
  });
  const auto listener = romancy::workflow("listener", [](Context& ctx) -> Task<int> {
    ctx.subscribe("jobs");
    co_return co_await ctx.receive<int>("jobs");
  });
  Environment env({server, listener});
  for (const char* id : {"b", "a", "c"}) env.start(server, id);
  env.run();
  env.publish("jobs", 1).publish("jobs", 2);
  env.start(listener, "l");
  env.at(1min).publish("jobs", 3);
  env.run();
  EXPECT_EQ(env.result<int>("b"), 1);
  EXPECT_EQ(env.result<int>("a"), 2);
  EXPECT_EQ(env.result<int>("c"), 3);
  EXPECT_EQ(env.error("l").type, "ChannelModeConflict");
}

TEST(TestingEnvironment, ARecurringWorkflowBeginsAnewWithItsMessages) {
  const auto sum = romancy::workflow("sum", [](Context& ctx, int so_far) -> Task<int> {
    const int next = so_far + co_await ctx.receive<int>("add");
    if (ctx.generation() == 2) co_return next;
    ctx.recur(next);
  });
  Environment env({sum}, {}, {.forget_at_every_step = true});
  env.start(sum, 0);
  env.send("add", 1).send("add", 2).send("add", 3);
  env.run();
  EXPECT_EQ(env.result<int>(), 6);
  EXPECT_EQ(env.history().generation, 2);
}

TEST(TestingEnvironment, AWorkflowsOwnTimeIsOver) {
  const auto brief = romancy::workflow("brief", [](Context& ctx) -> Task<> { co_await ctx.receive<int>("never"); }, {.timeout = 90s});
  Environment env({brief});
  env.start(brief);
  env.run();
  EXPECT_EQ(env.error().type, "WorkflowTimedOut");
  EXPECT_EQ(env.elapsed(), 90s);
}

TEST(TestingEnvironment, AThousandChildrenComeTogether) {
  const auto fan = romancy::workflow("fan", [](Context& ctx) -> Task<int> {
    std::vector<romancy::Child<int>> all;
    for (int i = 0; i < 1000; ++i) all.push_back(ctx.start_child(half, 2 * i));
    int sum = 0;
    for (const auto& child : all) sum += co_await child.result();
    co_return sum;
  });
  Environment env({fan, half});
  env.start(fan);
  env.run();
  EXPECT_EQ(env.result<int>(), 499500);
}

}  // namespace helpers
