// Run: queued activities: in one life, after eviction, and after a death at every point.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

using Queued = Effects;

const QueuedActivity<std::string, std::string> resize("resize", {.retry = {.attempts = 7}, .timeout = 90s, .queue = "gpu", .heartbeat_timeout = 30s});
const QueuedActivity<std::string, void> shrink("shrink", {.queue = "gpu"});

const auto plain = workflow("plain", [](Context& ctx, std::string what) -> Task<std::string> {
  const auto resized = co_await ctx.attempt(resize, what);
  if (!resized) co_return resized.error().type() + "|" + resized.error().what() + "|" + std::to_string(resized.error().attempt());
  const std::string out = resized.value();
  co_await ctx.run(act, out);
  co_return out;
});

// The same story at every death, and with suspended runs kept or not.
template <class Live>
void whenever_it_dies(std::vector<WorkflowRef> workflows, Live live) {
  Script whole(workflows, {act, undo});
  live(whole);
  for (int at = 0; at < whole.points; ++at) {
    for (const bool evict : {false, true}) {
      Script script(workflows, {act, undo});
      script.die_at = at;
      script.evict_always = evict;
      live(script);
    }
  }
}

TEST_F(Queued, GiveTheirResultWheneverTheRunDiesAndAreQueuedOnce) {
  whenever_it_dies({plain}, [](Script& script) {
    script.start("plain", R"("a")");
    script.settle();
    ASSERT_EQ(script.queued.size(), 1u) << script.told();
    const auto& task = script.queued[0];
    EXPECT_EQ(task.activity + "|" + task.queue + "|" + task.input + "|" + task.key, R"(resize|gpu|"a"|i-1:1:0)");
    EXPECT_THAT(task.policy, HasSubstr(R"("attempts":7)"));
    EXPECT_THAT(task.policy, HasSubstr(R"("heartbeat_ms":30000)"));
    EXPECT_THAT(task.policy, HasSubstr(R"("timeout_ms":90000)"));
    EXPECT_TRUE(script.task_completed(1, R"("small a")"));
    script.settle();
    EXPECT_EQ(script.result(), R"("small a")") << script.told();
    EXPECT_EQ(script.queued.size(), 1u);
    EXPECT_EQ(script.told(false), "1 started\n2 activity_queued 'resize' (operation 1)\n3 activity_completed 'resize' (operation 1)\n"
                                  "4 activity_completed 'do' (operation 2)\n5 completed\n");
  });
}

TEST_F(Queued, ThatFailForGoodSayWhyAndHowOftenTheyWereTried) {
  Script script({plain}, {act});
  script.start("plain", R"("a")");
  script.settle();
  script.task_failed(1, "HeartbeatTimedOut", "silence", 7);
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("HeartbeatTimedOut|"));
  EXPECT_THAT(script.result(), HasSubstr("silence"));
  EXPECT_THAT(script.result(), HasSubstr("|7"));
}

TEST_F(Queued, AResultThatDoesNotConvertIsAnErrorOfTheActivity) {
  Script script({plain}, {act});
  script.start("plain", R"("a")");
  script.settle();
  script.task_completed(1, "17");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("BadData|"));
}

TEST_F(Queued, ThatNobodyHadBegunAreWithdrawnWhenTheWorkflowIsCancelled) {
  whenever_it_dies({plain}, [](Script& script) {
    script.start("plain", R"("a")");
    script.settle();
    script.cancel();
    script.settle();
    EXPECT_EQ(script.status, Status::cancelled) << script.told();
    EXPECT_TRUE(script.tasks.empty());
    EXPECT_EQ(script.told(false), "1 started\n2 activity_queued 'resize' (operation 1)\n3 cancel_requested\n4 cancelled\n");
  });
}

TEST_F(Queued, ThatSomebodyHasAreAskedToStopAndTheirEndIsRecordedBeforeTheCancellation) {
  const auto rests = workflow("rests", [](Context& ctx, std::string what) -> Task<> {
    const auto resized = co_await ctx.attempt(resize, what);
    co_await ctx.sleep(1h);
  });
  for (const bool completes : {true, false}) {
    whenever_it_dies({rests}, [completes](Script& script) {
      script.start("rests", R"("a")");
      script.settle();
      script.take_task(1);
      script.cancel();
      script.settle();
      EXPECT_EQ(script.status, Status::running) << script.told();
      ASSERT_TRUE(script.tasks.contains(1));
      EXPECT_TRUE(script.tasks.at(1).stopping);
      if (completes) script.task_completed(1, R"("small a")");
      else script.task_failed(1, "Stopped", "as I was told");
      script.settle();
      EXPECT_EQ(script.told(false),
                "1 started\n2 activity_queued 'resize' (operation 1)\n3 activity_" + std::string(completes ? "completed" : "failed") +
                    " 'resize' (operation 1)\n4 timer_started 'sleep' (operation 2)\n5 cancel_requested\n6 cancelled\n");
    });
  }
}

TEST_F(Queued, ThatLoseARaceAreTakenBackOnceWheneverTheRunDies) {
  const auto race = workflow("race", [](Context& ctx) -> Task<std::string> {
    const std::string what = "a";
    const auto first = co_await ctx.when_any(ctx.run(resize, what), ctx.receive<std::string>("stop"));
    const std::string done = first.index() == 0 ? "resized" : "stopped";
    co_await ctx.run(act, done);
    co_await ctx.receive<std::string>("stop");
    co_return done;
  });
  whenever_it_dies({race}, [](Script& script) {
    script.start("race", "null");
    script.settle();
    script.message("stop", R"("now")");
    script.settle();
    EXPECT_THAT(script.tasks_left, ElementsAre(1));
    EXPECT_FALSE(script.task_completed(1, R"("late")"));
    script.put(InboxKind::task_ended, 1, "resize", R"({"generation":0,"status":"completed","result":"late"})");
    script.settle();
    script.message("stop", R"("again")");
    script.settle();
    EXPECT_EQ(script.result(), R"("stopped")") << script.told();
  });
}

TEST_F(Queued, ThatLoseBeforeTheyWereWrittenAreNeverQueued) {
  const auto race = workflow("race", [](Context& ctx) -> Task<std::string> {
    const std::string what = "a";
    const auto first = co_await ctx.when_any(ctx.run(resize, what), ctx.receive<std::string>("stop"));
    co_return first.index() == 0 ? "resized" : "stopped";
  });
  Script script({race}, {});
  script.start("race", "null");
  script.message("stop", R"("now")");
  script.settle();
  EXPECT_EQ(script.result(), R"("stopped")");
  EXPECT_TRUE(script.queued.empty());
}

TEST_F(Queued, ThatWinARaceBesideAnOrdinaryActivityAndASleep) {
  const auto all = workflow("all", [](Context& ctx) -> Task<std::string> {
    const std::string a = "a", b = "b";
    auto [x, y, z] = co_await ctx.when_all(ctx.run(resize, a), ctx.run(act, b), ctx.run(resize, b));
    co_return x + y + z;
  });
  whenever_it_dies({all}, [](Script& script) {
    script.start("all", "null");
    script.settle();
    script.task_completed(3, R"("3")");
    script.settle();
    script.task_completed(1, R"("1")");
    script.settle();
    EXPECT_EQ(script.result(), R"("1b3")") << script.told();
  });
}

TEST_F(Queued, UndoWhatWasDoneAsCompensations) {
  const auto trip = workflow("trip", [](Context& ctx) -> Task<> {
    const std::string a = "a", b = "b";
    ctx.compensate_with(undo, a);
    ctx.compensate_with(shrink, b);
    throw Broken("no way");
    co_return;
  });
  whenever_it_dies({trip}, [](Script& script) {
    script.start("trip", "null");
    script.settle();
    EXPECT_EQ(script.status, Status::compensating) << script.told();
    script.cancel();  // nothing stops it
    script.settle();
    ASSERT_TRUE(script.tasks.contains(2));
    EXPECT_FALSE(script.tasks.at(2).stopping);
    script.task_failed(2, "Broken", "stuck");
    script.settle();
    EXPECT_THAT(script.note, HasSubstr("compensation failed: shrink: Broken: stuck"));
    script.put(InboxKind::compensate, 0, {}, R"({"retry":true})");
    script.settle();
    EXPECT_TRUE(script.task_completed(2, "null"));
    script.settle();
    EXPECT_EQ(script.status, Status::failed) << script.told();
    EXPECT_EQ(script.queued.size(), 2u);
  });
}

TEST_F(Queued, OfAFormerGenerationTellTheNextOneNothing) {
  const auto again = workflow("again", [](Context& ctx, int n) -> Task<std::string> {
    const std::string a = "a";
    const auto first = co_await ctx.when_any(ctx.run(resize, a), ctx.receive<std::string>("on"));
    if (n == 0) ctx.recur(1);
    co_return first.index() == 0 ? "resized" : "told";
  });
  Script script({again}, {});
  script.start("again", "0");
  script.settle();
  script.message("on", R"("x")");
  script.settle();
  ASSERT_EQ(script.generation, 1);
  script.put(InboxKind::task_ended, 1, "resize", R"({"generation":0,"status":"completed","result":"late"})");
  script.settle();
  EXPECT_EQ(script.status, Status::running) << script.told();
  script.task_completed(1, R"("new")");
  script.settle();
  EXPECT_EQ(script.result(), R"("resized")");
}

TEST_F(Queued, NamesAndOptionsAreChecked) {
  const auto bad = workflow("bad", [](Context& ctx, std::string queue) -> Task<std::string> {
    const QueuedActivity<void, void> wrong("wrong", {.queue = queue});
    try {
      co_await ctx.run(wrong);
    } catch (const BadData& e) {
      co_return e.what();
    }
    co_return "fine";
  });
  Script script({bad}, {});
  script.start("bad", R"("a\u0001b")");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("run: queue: "));
  EXPECT_THAT(Registry::make({}, {resize}).error().text, HasSubstr("carried out by other programs"));
  EXPECT_THAT(Registry::make({}, {activity("a", [](Attempt&) {}, {.queue = "q", .heartbeat_timeout = 0ms})}).error().text,
              HasSubstr("heartbeat_timeout: 0 ms is not in 1 ms .. 366 days"));
}

}  // namespace
}  // namespace romancy::test
