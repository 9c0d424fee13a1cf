// Run: code that changes while instances run: who goes the old way, who the new one, and what history says of it.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

using Patches = Effects;

// The same workflow at four times: before the change, with both ways, with the new one and its marker, with the new one.
Task<> old_code(Context& ctx) {
  const std::string first = "first", old = "old", last = "last";
  co_await ctx.run(act, first);
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, old);
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, last);
}
Task<> both(Context& ctx) {
  const std::string first = "first", old = "old", fresh = "new", last = "last";
  co_await ctx.run(act, first);
  co_await ctx.receive<Json>("go");
  if (ctx.patched("greet")) {
    co_await ctx.run(act, fresh);
    ctx.publish("done", 1, {.to = "i-2"});
  } else {
    co_await ctx.run(act, old);
  }
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, last);
}
Task<> deprecated(Context& ctx) {
  const std::string first = "first", fresh = "new", last = "last";
  co_await ctx.run(act, first);
  co_await ctx.receive<Json>("go");
  ctx.deprecate_patch("greet");
  co_await ctx.run(act, fresh);
  ctx.publish("done", 1, {.to = "i-2"});
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, last);
}
Task<> new_code(Context& ctx) {
  const std::string first = "first", fresh = "new", last = "last";
  co_await ctx.run(act, first);
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, fresh);
  ctx.publish("done", 1, {.to = "i-2"});
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, last);
}
using Code = Task<> (*)(Context&);
std::vector<WorkflowRef> as_w(Code code) { return {workflow("w", code)}; }

// Two messages; after `before` of them the program is another one.
void live(Script& script, Code after, int before) {
  script.start("w", "null");
  script.settle();
  for (int i = 0; i < 2; ++i) {
    if (i == before) script.restart(as_w(after), {act});
    script.message("go", "1");
    script.settle();
  }
}

TEST_F(Patches, ARunThatHadNotComeThereGoesTheNewWayAndHistorySaysSo) {
  for (const bool evict : {false, true}) {
    effects.clear();
    Script script(as_w(old_code), {act});
    script.evict_always = evict;
    live(script, both, 0);
    EXPECT_EQ(script.status, Status::completed) << script.stuck;
    EXPECT_THAT(effects, ElementsAre("first", "new", "last"));
    EXPECT_THAT(script.told(false), HasSubstr("patched 'greet' (operation 3)\n6 activity_completed 'do' (operation 4)"));
  }
}

TEST_F(Patches, ARunThatWentTheOldWayGoesOnWithTheSameOperations) {
  for (const bool evict : {false, true}) {
    effects.clear();
    Script plain(as_w(old_code), {act}), script(as_w(old_code), {act});
    live(plain, old_code, 2);
    effects.clear();
    script.evict_always = evict;
    live(script, both, 1);
    EXPECT_EQ(script.status, Status::completed) << script.stuck;
    EXPECT_THAT(effects, ElementsAre("first", "old", "last"));
    EXPECT_EQ(script.told(), plain.told());
  }
}

// The activity that the old code asked for is in no row, and may have had its effect.
TEST_F(Patches, ARunWhoseLastStepOfTheOldWayIsUnderWayGoesOnThatWay) {
  Script script(as_w(old_code), {act});
  script.start("w", "null");
  script.settle();
  script.message("go", "1");
  bool dies = false;
  script.on_activity = [&](const ActivityStart& start) { dies = start.input == R"("old")"; };
  script.dies = [&] {  // it has run, and its result is not known
    if (!std::exchange(dies, false)) return false;
    script.on_activity = {};
    script.restart(as_w(both), {act});
    return true;
  };
  script.settle();
  EXPECT_THAT(effects, testing::Not(testing::Contains("new")));
  script.message("go", "1");
  script.settle();
  EXPECT_EQ(script.status, Status::completed) << script.stuck;
  EXPECT_EQ(effects.back(), "last");
}

// Even the start is in no row then.
TEST_F(Patches, ARunWhoseFirstStepIsUnderWayGoesOnThatWay) {
  const auto after = workflow("w", [](Context& ctx) -> Task<> {
    const std::string old = "old", fresh = "new";
    if (ctx.patched("p")) co_await ctx.run(act, fresh);
    else co_await ctx.run(act, old);
  });
  Script script({after}, {act});
  script.start("w", "null");
  script.put(InboxKind::recover, 0, {}, R"({"crash":true})");  // all that a worker with the old code has left
  script.evict_always = true;
  script.settle();
  EXPECT_EQ(script.status, Status::completed) << script.stuck;
  EXPECT_THAT(effects, ElementsAre("old"));
}

TEST_F(Patches, NewHistoryIsToldToTheSameCodeWheneverItDies) {
  Script whole(as_w(both), {act});
  live(whole, both, 2);
  for (int at = 0; at < whole.points; ++at) {
    for (const bool evict : {false, true}) {
      Script script(as_w(both), {act});
      script.die_at = at;
      script.evict_always = evict;
      live(script, both, 2);
      EXPECT_EQ(script.status, Status::completed) << script.stuck;
      EXPECT_EQ(script.told(), whole.told());
      EXPECT_EQ(script.messages.size(), 1u);
    }
  }
}

TEST_F(Patches, MarkersArePassedByCodeThatHasDeprecatedThemAndNoneAreWritten) {
  for (const int before : {0, 1, 2}) {
    effects.clear();
    Script script(as_w(both), {act});
    live(script, deprecated, before);
    EXPECT_EQ(script.status, Status::completed) << before << script.stuck;
    EXPECT_THAT(effects, ElementsAre("first", "new", "last"));
    EXPECT_EQ(script.told().find("patched") != std::string::npos, before > 0) << script.told();
  }
}

TEST_F(Patches, WhatBeganWithoutTheMarkerGoesOnWithCodeThatKnowsItNoMore) {
  for (const int before : {0, 1}) {
    effects.clear();
    Script script(as_w(deprecated), {act});
    live(script, new_code, before);
    EXPECT_EQ(script.status, Status::completed) << script.stuck;
    EXPECT_THAT(effects, ElementsAre("first", "new", "last"));
  }
}

TEST_F(Patches, AMarkerThatTheCodeKnowsNoMoreIsNamed) {
  Script script(as_w(both), {act});
  live(script, new_code, 1);
  EXPECT_EQ(script.stuck, "mismatch: history has patched 'greet' (operation 3) at seq 5, but the code waits for activity 'do' (operation 3)");
}

TEST_F(Patches, AnOldRunInCodeWithoutTheOldWayIsAMismatch) {
  Script script(as_w(old_code), {act});
  live(script, deprecated, 1);
  EXPECT_THAT(script.stuck, HasSubstr("mismatch: "));
}

TEST_F(Patches, TheFirstAnswerOfARunCountsForAllItsCalls) {
  static const auto asks = [](Context& ctx, bool asking) -> Task<std::string> {
    std::string answers;
    for (int i = 0; i < 3; ++i) {
      if (asking) answers += ctx.patched("p") ? "1" : "0";
      co_await ctx.receive<Json>("go");
      if (asking) answers += ctx.patched("p") && ctx.patched("p") ? "1" : "0";
    }
    co_return answers;
  };
  const auto with = workflow("w", [](Context& ctx) -> Task<std::string> { return asks(ctx, true); });
  const auto without = workflow("w", [](Context& ctx) -> Task<std::string> { return asks(ctx, false); });
  for (const bool old : {false, true}) {
    for (const bool evict : {false, true}) {
      Script script({old ? without : with}, {});
      script.evict_always = evict;
      script.start("w", "null");
      script.settle();
      script.restart({with}, {});
      for (int i = 0; i < 3; ++i) {
        script.message("go", "1");
        script.settle();
      }
      EXPECT_EQ(script.result(), old ? R"("000000")" : R"("111111")") << script.told() << script.stuck;
      const std::string told = script.told();
      EXPECT_EQ(told.find("patched") == told.rfind("patched"), true) << "one row at most: " << told;
    }
  }
}

TEST_F(Patches, ANewGenerationGoesTheNewWay) {
  const auto old = workflow("w", [](Context& ctx, int n) -> Task<std::string> {
    co_await ctx.receive<Json>("go");
    if (n == 0) ctx.recur(1);
    co_return "old";
  });
  const auto fresh = workflow("w", [](Context& ctx, int n) -> Task<std::string> {
    const bool now = ctx.patched("p");
    co_await ctx.receive<Json>("go");
    if (n == 0 && now) co_return "too early";
    if (n == 0) ctx.recur(1);
    co_return now ? "new" : "old";
  });
  Script script({old}, {});
  script.start("w", "0");
  script.settle();
  script.restart({fresh}, {});
  for (int i = 0; i < 2; ++i) {
    script.message("go", "1");
    script.settle();
  }
  EXPECT_EQ(script.result(), R"("new")") << script.stuck;
}

TEST_F(Patches, SeveralArePassedInTheirOrder) {
  const auto two = workflow("w", [](Context& ctx) -> Task<std::string> {
    const bool p = ctx.patched("p"), q = ctx.patched("q");
    co_await ctx.receive<Json>("go");
    const bool again = ctx.patched("q") && ctx.patched("r");
    co_return std::string(p ? "p" : "") + (q ? "q" : "") + (again ? "r" : "");
  });
  const auto one = workflow("w", [](Context& ctx) -> Task<std::string> {
    const bool q = ctx.patched("q");
    co_await ctx.receive<Json>("go");
    co_return q ? "q" : "";
  });
  for (const bool old : {false, true}) {
    Script script({old ? one : two}, {});
    script.evict_always = true;
    script.start("w", "null");
    script.settle();
    script.restart({two}, {});
    script.message("go", "1");
    script.settle();
    EXPECT_EQ(script.result(), old ? R"("qr")" : R"("pqr")") << script.stuck << script.told();
  }
}

TEST_F(Patches, AWrongIdIsRefusedByName) {
  const auto wrong = workflow("w", [](Context& ctx, bool deprecate) -> Task<> {
    if (deprecate) ctx.deprecate_patch("");
    else (void)ctx.patched("");
    co_return;
  });
  for (const char* deprecate : {"true", "false"}) {
    Script script({wrong}, {});
    script.start("w", deprecate);
    script.settle();
    EXPECT_THAT(script.result(), HasSubstr(*deprecate == 't' ? "deprecate_patch: id: " : "patched: id: "));
  }
}

}  // namespace
}  // namespace romancy::test
