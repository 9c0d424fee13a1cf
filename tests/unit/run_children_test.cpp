// Run: children: in one life, after eviction, and after a death at every point.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

using Children = Effects;

const WorkflowName<std::string, std::string> ship("ship", "warehouse");
const WorkflowName<void, void> sweep("sweep");

const auto parent = workflow("parent", [](Context& ctx, std::string what) -> Task<std::string> {
  try {
    const auto out = co_await ctx.child(ship, what);
    co_await ctx.run(act, out);
    co_return out;
  } catch (const ChildError& e) {
    co_return e.workflow() + "|" + e.id() + "|" + e.type() + "|" + e.message();
  }
});

TEST_F(Children, GiveTheirParentTheirOutputWheneverTheParentDies) {
  Script whole({parent}, {act});
  const auto live = [](Script& script) {
    script.start("parent", R"("a")");
    script.settle();
    script.child_completed(1, R"("shipped a")");
    script.settle();
    EXPECT_EQ(script.result(), R"("shipped a")") << script.told();
    ASSERT_EQ(script.children.size(), 1u);
    const auto& child = script.children.at("i-1/1");
    EXPECT_EQ(child.workflow, "ship");
    EXPECT_EQ(child.queue, "warehouse");
    EXPECT_EQ(child.input, R"("a")");
    EXPECT_EQ(child.op, 1);
    EXPECT_TRUE(child.follows);
    EXPECT_TRUE(script.cancels.empty());
    EXPECT_EQ(script.told(false), "1 started\n2 child_started 'ship' (operation 1)\n3 child_completed 'ship' (operation 1)\n"
                                  "4 activity_completed 'do' (operation 2)\n5 completed\n");
  };
  live(whole);
  for (int at = 0; at < whole.points; ++at) {
    for (const bool evict : {false, true}) {
      Script script({parent}, {act});
      script.die_at = at;
      script.evict_always = evict;
      live(script);
    }
  }
}

TEST_F(Children, HaveThePriorityAndTheKeyTheyWereStartedWith) {
  const auto keyed = workflow("keyed", [](Context& ctx) -> Task<void> {
    ctx.start_child(sweep, {.priority = 3, .key = "customer 7"});
    ctx.start_workflow(sweep, {.priority = -4});
    for (const int priority : {5, -5}) {
      try {
        ctx.start_child(sweep, {.priority = priority});
        ctx.set_status("not refused");
      } catch (const std::invalid_argument&) {
      }
    }
    co_return;
  });
  Script script({keyed}, {act});
  script.start("keyed", "null");
  script.settle();
  EXPECT_EQ(script.told(false).find("not refused"), std::string::npos) << script.told();
  EXPECT_EQ(script.children.at("i-1/1").lane, "2customer 7");
  EXPECT_EQ(script.children.at("i-1/2").lane, "9");
}

TEST_F(Children, ErrorsReachTheirParentWithTypeAndMessage) {
  for (const std::string status : {"failed", "cancelled", "refused"}) {
    Script script({parent}, {act});
    script.start("parent", R"("a")");
    script.settle();
    script.child_failed(1, "Broken", "no lorry", status);
    script.settle();
    EXPECT_EQ(script.result(), R"("ship|i-1/1|Broken|no lorry")") << script.told();
  }
}

TEST_F(Children, AnOutputThatDoesNotConvertIsAnErrorOfTheChild) {
  Script script({parent}, {act});
  script.start("parent", R"("a")");
  script.settle();
  script.child_completed(1, "17");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("ship|i-1/1|BadData|output: "));
}

TEST_F(Children, ThatFollowAreCancelledWhereTheWaitIsCancelledAndTheOthersAreNot) {
  const auto waits = workflow("waits", [](Context& ctx, bool follows) -> Task<> {
    const std::string what = "a";
    co_await ctx.child(ship, what, {.follows = follows});
  });
  for (const bool follows : {true, false}) {
    for (const bool evict : {false, true}) {
      Script script({waits}, {});
      script.evict_always = evict;
      script.start("waits", follows ? "true" : "false");
      script.settle();
      script.cancel();
      script.settle();
      EXPECT_EQ(script.status, Status::cancelled);
      EXPECT_EQ(script.children_left, follows ? std::vector<std::string>{"i-1/1"} : std::vector<std::string>{});
      EXPECT_TRUE(script.cancels.empty());  // by operation, not by id: a refused child's id is another instance's
      EXPECT_EQ(script.children.at("i-1/1").follows, follows);
    }
  }
}

TEST_F(Children, ThatLoseARaceAreCancelledOnceWheneverTheParentDies) {
  const auto race = workflow("race", [](Context& ctx) -> Task<std::string> {
    const std::string what = "a";
    const auto first = co_await ctx.when_any(ctx.child(ship, what), ctx.receive<std::string>("stop"));
    const std::string done = first.index() == 0 ? "shipped" : "stopped";
    co_await ctx.run(act, done);
    co_await ctx.receive<std::string>("stop");
    co_return done;
  });
  Script whole({race}, {act});
  const auto live = [](Script& script) {
    script.start("race", "null");
    script.settle();
    script.message("stop", R"("now")");
    script.settle();
    script.child_failed(1, "WorkflowCancelled", "", "cancelled");  // nobody minds
    script.settle();
    script.message("stop", R"("again")");
    script.settle();
    EXPECT_EQ(script.result(), R"("stopped")") << script.told();
    EXPECT_EQ(script.children_left, std::vector<std::string>{"i-1/1"}) << script.told();
  };
  live(whole);
  for (int at = 0; at < whole.points; ++at) {
    for (const bool evict : {false, true}) {
      Script script({race}, {act});
      script.die_at = at;
      script.evict_always = evict;
      live(script);
    }
  }
}

TEST_F(Children, ThatLoseBeforeTheyWereWrittenAreNeverStarted) {
  const auto race = workflow("race", [](Context& ctx) -> Task<std::string> {
    const std::string what = "a";
    const auto first = co_await ctx.when_any(ctx.child(ship, what), ctx.receive<std::string>("stop"));
    co_return first.index() == 0 ? "shipped" : "stopped";
  });
  Script script({race}, {act});
  script.start("race", "null");
  script.message("stop", R"("now")");
  script.settle();
  EXPECT_EQ(script.result(), R"("stopped")");
  EXPECT_TRUE(script.children.empty());
  EXPECT_TRUE(script.children_left.empty());
}

TEST_F(Children, AHandleWaitsNowLaterAgainOrNever) {
  const auto handles = workflow("handles", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a", b = "b";
    const auto early = ctx.start_child(ship, a, {.id = "early"});
    const auto late = ctx.start_child(ship, b);
    ctx.start_child(sweep, {.id = "never"});
    std::string all = co_await early.result();
    co_await ctx.receive<std::string>("go on");
    all += co_await late.result();
    all += co_await late.result();
    co_return all + late.id();
  });
  for (const bool evict : {false, true}) {
    Script script({handles}, {});
    script.evict_always = evict;
    script.start("handles", "null");
    script.settle();
    EXPECT_EQ(script.children.size(), 3u);
    EXPECT_EQ(script.children.at("never").queue, "default");
    script.child_completed(2, R"("B")");  // before anybody waits
    script.child_completed(1, R"("A")");
    script.settle();
    script.message("go on", R"("x")");
    script.settle();
    EXPECT_EQ(script.result(), R"("ABBi-1/2")") << script.told();
  }
}

TEST_F(Children, WhoStopsWaitingForAHandleLeavesTheChildAlone) {
  const auto patient = workflow("patient", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a";
    const auto child = ctx.start_child(ship, a);
    const auto first = co_await ctx.when_any(child.result(), ctx.sleep(1h));
    if (first.index() == 0) co_return first.get<0>();
    const std::string late = "late";
    co_await ctx.run(act, late);
    co_return co_await child.result();
  });
  for (const bool evict : {false, true}) {
    Script script({patient}, {act});
    script.evict_always = evict;
    script.start("patient", "null");
    script.settle();
    script.fire_next();
    script.settle();
    EXPECT_TRUE(script.cancels.empty());
    script.child_completed(1, R"("A")");
    script.settle();
    EXPECT_EQ(script.result(), R"("A")") << script.told();
  }
}

TEST_F(Children, TwoThatWaitForOneHandleAtOnceAreAnError) {
  const auto twice = workflow("twice", [](Context& ctx) -> Task<> {
    const std::string a = "a";
    const auto child = ctx.start_child(ship, a);
    co_await ctx.when_all(child.result(), child.result());
  });
  Script script({twice}, {});
  script.start("twice", "null");
  script.settle();
  EXPECT_EQ(script.status, Status::failed);
  EXPECT_THAT(script.result(), HasSubstr("awaited by two at once"));
}

TEST_F(Children, StartsAndCancelsOfOthersLeaveOnceWheneverItDies) {
  const auto sends = workflow("sends", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a";
    const auto id = ctx.start_workflow(ship, a);
    ctx.cancel_workflow("i-9", "enough");
    co_await ctx.run(act, a);
    const auto child = ctx.start_child(ship, a, {.id = "c"});
    child.cancel("at once");
    co_await ctx.run(act, id);
    co_return id;
  });
  Script whole({sends}, {act});
  const auto live = [](Script& script) {
    script.start("sends", "null");
    script.settle();
    EXPECT_EQ(script.result(), R"("i-1/1")") << script.told();
    EXPECT_EQ(script.children.at("i-1/1").op, 0);
    EXPECT_FALSE(script.children.at("i-1/1").follows);
    ASSERT_EQ(script.cancels.size(), 2u);
    EXPECT_EQ(script.cancels[0].id, "i-9");
    EXPECT_EQ(script.cancels[0].reason, "enough");
    EXPECT_EQ(script.cancels[1].id, "c");
  };
  live(whole);
  for (int at = 0; at < whole.points; ++at) {
    Script script({sends}, {act});
    script.die_at = at;
    live(script);
  }
}

TEST_F(Children, OfAFormerGenerationTellTheNextNothing) {
  const auto again = workflow("again", [](Context& ctx, int generation) -> Task<std::string> {
    const std::string a = "a";
    if (generation == 0) {
      ctx.start_child(ship, a);
      co_await ctx.receive<std::string>("go on");
      ctx.recur(1);
    }
    co_return co_await ctx.child(ship, a);
  });
  for (const bool evict : {false, true}) {
    Script script({again}, {});
    script.evict_always = evict;
    script.start("again", "0");
    script.settle();
    script.message("go on", R"("x")");
    script.settle();
    ASSERT_TRUE(script.children.contains("i-1/1"));
    ASSERT_TRUE(script.children.contains("i-1/1.1"));
    script.child_completed(1, R"("new")");
    script.settle();
    EXPECT_EQ(script.result(), R"("new")") << script.told();
  }
}

TEST_F(Children, AnIdThatWouldBeTooLongIsAHash) {
  Script script({parent}, {act});
  script.start("parent", R"("a")", std::string(254, 'x'));
  script.settle();
  ASSERT_EQ(script.children.size(), 1u);
  EXPECT_EQ(script.children.begin()->first.size(), 36u);
}

TEST_F(Children, BadNamesAreRefusedByName) {
  const auto bad = workflow("bad", [](Context& ctx, int which) -> Task<> {
    const std::string a = "a";
    const WorkflowName<std::string, std::string> nameless("");
    if (which == 0) co_await ctx.child(nameless, a);
    if (which == 1) co_await ctx.child(ship, a, {.id = "a\nb"});
    if (which == 2) ctx.start_child(ship, a, {.queue = "a\nb"});
    if (which == 3) ctx.cancel_workflow("");
  });
  const char* expected[] = {"child: workflow: ", "child: id: ", "start_child: queue: ", "cancel_workflow: instance_id: "};
  for (int which = 0; which < 4; ++which) {
    Script script({bad}, {});
    script.start("bad", std::to_string(which));
    script.settle();
    EXPECT_EQ(script.status, Status::failed);
    EXPECT_THAT(script.result(), HasSubstr(expected[which]));
  }
}

TEST_F(Children, CodeThatStartsAnotherChildThanHistorySaysIsParked) {
  Script script({parent}, {act});
  script.start("parent", R"("a")");
  script.settle();
  const auto other = workflow("parent", [](Context& ctx, std::string what) -> Task<std::string> {
    const WorkflowName<std::string, std::string> fly("fly");
    co_return co_await ctx.child(fly, what);
  });
  script.restart({other}, {act});
  script.settle();
  EXPECT_THAT(script.stuck, HasSubstr("history has child_started 'ship' (operation 1) at seq 2, but the code did child_started 'fly'"));
}

}  // namespace
}  // namespace romancy::test
