// Run: what a review of the core found: ends and beginnings that meet, limits in replay, and users' mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/support/script.hpp"

namespace romancy::test {
namespace {

using namespace resumer;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> effects;
const auto act = activity("do", [](Attempt&, std::string what) {
  effects.push_back(what);
  return what;
});

class Edge : public testing::Test {
 protected:
  void SetUp() override { effects.clear(); }
};

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

// ----------------------------------------------------------------------------------------- transactional activities

const auto debit = transactional("debit", [](Transaction&, std::string what) { return what; });

// Its result is durable before the code was told: whoever is rebuilt then is told for the first time.

// -------------------------------------------------------------------------------------- life and replay are the same




// -------------------------------------------------------------------------------------------------------------- limits




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


Task<int> five() {
  co_return 5;
}


}  // namespace
}  // namespace romancy::test
