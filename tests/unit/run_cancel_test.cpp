// Run: cancellation and compensation.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

const auto undo_fails = activity("undo_fails",
                                 [](Attempt&, std::string what) -> void {
                                   effects.push_back("try " + what);
                                   throw Broken("cannot");
                                 },
                                 {.retry = {.attempts = 2}});

const auto trip = workflow("trip", [](Context& ctx, std::string end) -> Task<std::string> {
  const std::string car = "car", hotel = "hotel", flight = "flight";
  co_await ctx.run(act, car);
  ctx.compensate_with(undo, car);
  co_await ctx.run(act, hotel);
  if (end == "stuck") ctx.compensate_with(undo_fails, hotel);
  else ctx.compensate_with(undo, hotel);
  co_await ctx.run(act, flight);
  ctx.compensate_with(undo, flight);
  if (end == "throw" || end == "stuck") throw Broken("no seats");
  co_await ctx.receive<int>("paid");
  co_return "fine";
});

using Cancel = Effects;
using Compensation = Effects;

TEST_F(Compensation, RunsNewestFirst) {
  Script script({trip}, {act, undo, undo_fails});
  script.start("trip", R"("throw")");
  script.settle();
  EXPECT_THAT(effects, ElementsAre("car", "hotel", "flight", "undo flight", "undo hotel", "undo car"));
  EXPECT_EQ(script.status, Status::failed);
  const Json end = Json::parse(script.result());
  EXPECT_EQ(end["message"], "no seats");
  EXPECT_THAT(end["type"].get<std::string>(), HasSubstr("Broken"));
}

TEST_F(Compensation, OneThatFailsForGoodStopsNoOtherAndIsVisibleUntilSomebodyDecides) {
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script({trip}, {act, undo, undo_fails});
    script.evict_always = evict;
    script.start("trip", R"("stuck")");
    script.settle();
    EXPECT_THAT(effects, ElementsAre("car", "hotel", "flight", "undo flight", "try hotel", "try hotel", "undo car"));
    EXPECT_EQ(script.status, Status::compensating);
    EXPECT_THAT(script.note, HasSubstr("compensation failed: undo_fails: "));
    EXPECT_THAT(script.note, HasSubstr("cannot"));

    script.cancel();  // harmless, and no decision
    script.settle();
    EXPECT_EQ(script.status, Status::compensating);

    const std::string key = script.attempts[4].key;
    script.put(InboxKind::compensate, 0, {}, R"({"retry":true})");
    script.settle();
    EXPECT_EQ(effects.size(), 9u);
    EXPECT_EQ(effects.back(), "try hotel");
    EXPECT_EQ(script.attempts.back().key, key) << "the same call, so the same idempotency key";
    EXPECT_EQ(script.status, Status::compensating);

    script.put(InboxKind::compensate, 0, {}, R"({"retry":false})");
    script.settle();
    EXPECT_EQ(effects.size(), 9u);
    EXPECT_EQ(script.status, Status::failed);
    EXPECT_EQ(script.note, "");
    const Json end = Json::parse(script.result());
    EXPECT_EQ(end["message"], "no seats");
    ASSERT_EQ(end["compensations_failed"].size(), 1u);
    EXPECT_EQ(end["compensations_failed"][0]["activity"], "undo_fails");
    EXPECT_EQ(end["compensations_failed"][0]["message"], "cannot");
  }
}

TEST_F(Compensation, OneThatFailedCanBeRunAgainAndThenTheWorkflowEnds) {
  bool broken = true;
  const auto mend = activity("undo_fails",
                             [&](Attempt&, std::string what) {
                               if (broken) throw TerminalError("the bank is closed");
                               effects.push_back("undo " + what);
                             });
  Script script({trip}, {act, undo, mend});
  script.start("trip", R"("stuck")");
  script.settle();
  EXPECT_EQ(script.status, Status::compensating);
  broken = false;
  script.put(InboxKind::compensate, 0, {}, R"({"retry":true})");
  script.evict();
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_EQ(effects.back(), "undo hotel");
  EXPECT_FALSE(Json::parse(script.result()).contains("compensations_failed"));
}

TEST_F(Compensation, ThatWereForgottenDoNotRun) {
  const auto pivot = workflow("pivot", [](Context& ctx) -> Task<> {
    const std::string car = "car", hotel = "hotel";
    ctx.compensate_with(undo, car);
    ctx.forget_compensations();
    ctx.compensate_with(undo, hotel);
    co_await ctx.sleep(1h);
  });
  Script script({pivot}, {undo});
  script.start("pivot", "null");
  script.settle();
  script.cancel();
  script.settle();
  EXPECT_THAT(effects, ElementsAre("undo hotel"));
}

TEST_F(Compensation, ShowsInTheStatusWhileItRuns) {
  Script script({trip}, {act, undo, undo_fails});
  script.on_activity = [&](const ActivityStart& start) {
    EXPECT_EQ(script.status, start.name == "do" ? Status::running : Status::compensating);
  };
  script.start("trip", R"("throw")");
  script.settle();
}

TEST_F(Compensation, DoesNotRunWhenTheWorkflowCompletes) {
  Script script({trip}, {act, undo, undo_fails});
  script.start("trip", R"("")");
  script.message("paid", "1");
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_THAT(effects, ElementsAre("car", "hotel", "flight"));
}

TEST_F(Compensation, ThatPausesInTheDatabaseGoesOnAfterAReplay) {
  const auto slow = activity("slow",
                             [](Attempt& at) -> void {
                               effects.push_back("slow");
                               if (at.number() == 1) throw Broken("later");
                             },
                             {.retry = {.attempts = 2, .first_interval = 30s, .max_interval = 30s}});
  const auto call = workflow("call", [&slow](Context& ctx) -> Task<> {
    ctx.compensate_with(slow);
    throw Broken("x");
    co_return;
  });
  Script script({call}, {slow});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::compensating);
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_EQ(effects.size(), 2u);
}

TEST_F(Cancel, IsAnExceptionWhereTheWorkflowWaitsAndCompensates) {
  Script script({trip}, {act, undo, undo_fails});
  script.evict_always = true;
  script.start("trip", R"("")");
  script.settle();
  script.cancel("too late");
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_EQ(effects.back(), "undo car");
  EXPECT_EQ(Json::parse(script.result())["reason"], "too late");
}

TEST_F(Cancel, BeforeTheStartRunsNoCode) {
  Script script({trip}, {act, undo, undo_fails});
  script.start("trip", R"("")");
  script.cancel();
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_TRUE(effects.empty());

  Script scheduled({trip}, {act, undo, undo_fails});  // start_at: no start row yet
  scheduled.start("trip", R"("")");
  scheduled.inbox.clear();
  scheduled.cancel();
  scheduled.settle();
  EXPECT_EQ(scheduled.status, Status::cancelled);
  EXPECT_EQ(scheduled.told(false), "1 cancel_requested\n2 cancelled\n");
}

TEST_F(Cancel, ARestartedWorkerRunsTheActivityThatMayHaveRunBeforeItCancels) {
  // The first activity may start before the start row is committed (the engine's shortcut), so after a crash nobody
  // knows.
  Script script({trip}, {act, undo, undo_fails});
  script.start("trip", R"("")");
  script.cancel();
  script.put(InboxKind::recover, 0, {}, R"({"crash":true})");
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_THAT(effects, ElementsAre("car", "undo car"));
}

TEST_F(Cancel, AnActivityUnderWayFinishesFirstAndItsResultIsTold) {
  Script script({trip}, {act, undo, undo_fails});
  script.on_activity = [&](const ActivityStart& start) {
    if (start.op == 3) script.cancel();  // while hotel is booked
  };
  script.start("trip", R"("")");
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_THAT(effects, ElementsAre("car", "hotel", "undo hotel", "undo car"));
  EXPECT_EQ(script.told(false),
            "1 started\n2 activity_completed 'do' (operation 1)\n3 activity_completed 'do' (operation 3)\n4 "
            "cancel_requested\n"
            "5 activity_completed 'undo' (operation 4)\n6 activity_completed 'undo' (operation 2)\n7 cancelled\n");
}

TEST_F(Cancel, AnAttemptThatFailsMeanwhileIsNotTriedAgainAndTheWorkflowIsCancelledNotFailed) {
  const auto stubborn = activity("stubborn", [](Attempt&) -> void {
    effects.push_back("tried");
    throw Broken("stopped");
  });
  const auto call = workflow("call", [&stubborn](Context& ctx) -> Task<> { co_await ctx.run(stubborn); });
  Script script({call}, {stubborn});
  script.on_activity = [&](const ActivityStart&) { script.cancel(); };
  script.start("call", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_EQ(effects.size(), 1u);
}

TEST_F(Cancel, EndsALongPauseBetweenAttempts) {
  const auto slow = activity("slow", [](Attempt&) -> void { throw Broken("later"); },
                             {.retry = {.attempts = 5, .first_interval = 1h, .max_interval = 1h}});
  const auto call = workflow("call", [&slow](Context& ctx) -> Task<> {
    try {
      co_await ctx.run(slow);
    } catch (const WorkflowCancelled&) {
    }
    ctx.publish("left", 1);
  });
  Script script({call}, {slow});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  EXPECT_EQ(script.deadlines.size(), 1u);
  script.cancel();
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
}

TEST_F(Cancel, StaysAtEveryLaterWaitOutsideOfAShield) {
  const auto call = workflow("call", [](Context& ctx) -> Task<std::string> {
    std::string said;
    bool again = false;
    const std::string what = "tidy";
    try {
      co_await ctx.sleep(1h);
    } catch (const WorkflowCancelled& e) {
      said = e.reason();
      again = true;
    }
    EXPECT_EQ(again, ctx.cancelled());
    for (int i = 0; i < 3; ++i) {
      try {
        co_await ctx.run(act, what);
        said += " ran";
      } catch (const WorkflowCancelled&) {
        said += " again";
      }
    }
    co_await ctx.shield(
        [](Context& c, std::string s) -> Task<> {
          co_await c.run(act, s);
          co_await c.sleep(1s);
        },
        what);
    said += " shielded";
    co_return said;  // it has decided that the work was done
  });
  Script script({call}, {act});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  script.cancel("enough");
  script.settle();
  EXPECT_EQ(script.status, Status::running);
  EXPECT_EQ(script.deadlines.size(), 1u);  // the hour's is over, the shielded second is not
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_EQ(script.result(), R"("enough again again again shielded")");
  EXPECT_THAT(effects, ElementsAre("tidy"));
}

TEST_F(Cancel, InsideAShieldWaitsUntilItsEnd) {
  const auto call = workflow("call", [](Context& ctx) -> Task<> {
    const std::string what = "inside";
    co_await ctx.shield(
        [](Context& c, std::string s) -> Task<> {
          co_await c.sleep(1s);
          co_await c.run(act, s);
        },
        what);
    effects.push_back(ctx.cancelled() ? "cancelled" : "not cancelled");
    co_await ctx.sleep(1s);
    effects.push_back("unreachable");
  });
  Script script({call}, {act});
  script.evict_always = true;
  script.start("call", "null");
  script.settle();
  script.cancel();
  script.settle();
  EXPECT_EQ(script.status, Status::running);
  script.fire_next();
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_THAT(effects, ElementsAre("inside", "cancelled"));
}

TEST_F(Cancel, ASecondOneAndOneWhileCompensatingAreDropped) {
  Script script({trip}, {act, undo, undo_fails});
  script.on_activity = [&](const ActivityStart& start) {
    if (start.name == "undo") script.cancel("again");
  };
  script.start("trip", R"("throw")");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);

  Script twice({trip}, {act, undo, undo_fails});
  twice.start("trip", R"("")");
  twice.settle();
  twice.cancel("one");
  twice.cancel("two");
  twice.settle();
  EXPECT_EQ(twice.status, Status::cancelled);
  EXPECT_EQ(Json::parse(twice.result())["reason"], "one");
}

TEST_F(Cancel, IsNotSwallowedByACatchOfStdException) {
  const auto call = workflow("call", [](Context& ctx) -> Task<> {
    try {
      co_await ctx.sleep(1h);
    } catch (const std::exception&) {
      effects.push_back("swallowed");
    }
  });
  Script script({call}, {});
  script.start("call", "null");
  script.settle();
  script.cancel();
  script.settle();
  EXPECT_EQ(script.status, Status::cancelled);
  EXPECT_TRUE(effects.empty());
}

}  // namespace
}  // namespace romancy::test
