// Run: the status value that the code sets for others to read: written when it was said, never again in replay.
#include "tests/unit/run_support.hpp"

namespace romancy::test {
namespace {

using StatusValue = Effects;

const auto steps = workflow("steps", [](Context& ctx) -> Task<> {
  ctx.set_status("begun");
  const std::string first = "a", second = "b";
  co_await ctx.run(act, first);
  ctx.set_status(Json{{"done", 1}});
  ctx.set_status(Json{{"done", 1}, {"of", 2}});  // the last word before a commit counts
  co_await ctx.receive<Json>("go");
  co_await ctx.run(act, second);
  ctx.set_status("done");
});

TEST_F(StatusValue, IsWrittenWithTheCommitInWhichItWasSaidWheneverTheRunDies) {
  Script whole({steps}, {act});
  const auto live = [](Script& script) {
    script.start("steps", "null");
    script.settle();
    EXPECT_EQ(script.progress.back(), R"({"done":1,"of":2})");
    script.message("go", "1");
    script.settle();
    EXPECT_EQ(script.status, Status::completed) << script.told();
    EXPECT_THAT(script.progress, ElementsAre(R"("begun")", R"({"done":1,"of":2})", R"("done")"));
    EXPECT_EQ(script.told(false), "1 started\n2 activity_completed 'do' (operation 1)\n3 wait_started 'go' (operation 2)\n"
                                  "4 message_received 'go' (operation 2)\n5 activity_completed 'do' (operation 3)\n6 completed\n");
  };
  live(whole);
  for (int at = 0; at < whole.points; ++at) {
    for (const bool evict : {false, true}) {
      Script script({steps}, {act});
      script.die_at = at;
      script.evict_always = evict;
      live(script);
    }
  }
}

TEST_F(StatusValue, IsSaidAgainOnlyBehindWhatWasNotCommitted) {
  Script script({steps}, {act});
  script.start("steps", "null");
  script.settle();
  const auto said = script.progress;
  script.evict();
  script.settle();
  EXPECT_EQ(script.progress, said);
}

TEST_F(StatusValue, StaysOverANewGeneration) {
  const auto rounds = workflow("rounds", [](Context& ctx, int n) -> Task<> {
    if (n == 0) ctx.set_status(Json{{"round", n}});
    co_await ctx.receive<Json>("go");
    if (n == 0) {
      ctx.set_status("next");
      ctx.recur(1);
    }
  });
  for (const bool evict : {false, true}) {
    Script script({rounds}, {});
    script.evict_always = evict;
    script.start("rounds", "0");
    script.settle();
    for (int i = 0; i < 2; ++i) {
      script.message("go", "1");
      script.settle();
    }
    EXPECT_EQ(script.status, Status::completed) << script.told();
    EXPECT_THAT(script.progress, ElementsAre(R"({"round":0})", R"("next")"));
  }
}

TEST_F(StatusValue, MayBeAddedAndTakenOutWithoutADifferenceToHistory) {
  const auto plain = workflow("steps", [](Context& ctx) -> Task<> {
    const std::string first = "a", second = "b";
    co_await ctx.run(act, first);
    co_await ctx.receive<Json>("go");
    co_await ctx.run(act, second);
  });
  for (const bool added : {true, false}) {
    Script script({added ? plain : steps}, {act});
    script.start("steps", "null");
    script.settle();
    script.restart({added ? steps : plain}, {act});
    script.message("go", "1");
    script.settle();
    EXPECT_EQ(script.status, Status::completed) << script.stuck;
  }
}

TEST_F(StatusValue, ThatIsTooLongIsRefusedByName) {
  const auto longs = workflow("longs", [](Context& ctx, int size) -> Task<> {
    ctx.set_status(std::string(static_cast<std::size_t>(size), 'x'));
    co_return;
  });
  for (const int size : {16'382, 16'383}) {
    Script script({longs}, {});
    script.start("longs", std::to_string(size));
    script.settle();
    if (size == 16'382) {
      EXPECT_EQ(script.status, Status::completed);
      continue;
    }
    EXPECT_EQ(script.status, Status::failed);
    EXPECT_THAT(script.result(), HasSubstr("set_status: longer than 16384 bytes"));
    EXPECT_TRUE(script.progress.empty());
  }
}

TEST_F(StatusValue, ThatIsNoJsonIsRefusedByName) {
  const auto broken = workflow("broken", [](Context& ctx) -> Task<> {
    ctx.set_status(Json{{"who", std::string("a\0b", 3)}});
    co_return;
  });
  Script script({broken}, {});
  script.start("broken", "null");
  script.settle();
  EXPECT_THAT(script.result(), HasSubstr("set_status: /who"));
}

// The result of a transactional activity is committed before the code hears of it: what it says then was not.
TEST_F(StatusValue, BehindATransactionIsWrittenThoughItsResultIsOnRecord) {
  const auto book = transactional("book", [](Transaction&, std::string what) { return what; });
  const auto books = workflow("books", [&book](Context& ctx) -> Task<> {
    const std::string what = "a";
    co_await ctx.run(book, what);
    ctx.set_status("booked");
    co_await ctx.receive<Json>("go");
  });
  Script script({books}, {book});
  script.start("books", "null");
  script.history = {{1, 0, HistoryKind::started, "", "null"}, {2, 1, HistoryKind::activity_completed, "book", R"("a")"}};
  script.inbox.clear();
  script.put(InboxKind::recover, 0, {}, R"({"crash":true})");
  script.settle();
  EXPECT_THAT(script.progress, ElementsAre(R"("booked")"));
}

}  // namespace
}  // namespace romancy::test
