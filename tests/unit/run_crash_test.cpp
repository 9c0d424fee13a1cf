// Run: a process may die at every commit boundary and in every activity; the final history and effects are those of a
// life without crashes. Sample workflows die at each point in turn; random programs die at random points.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <random>

#include "tests/support/script.hpp"

namespace romancy::test {
namespace {

using namespace resumer;
using namespace std::chrono_literals;

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The world outside: effects by idempotency key, so an attempt made again has no second effect.
std::map<std::string, std::string> world;
bool once(Attempt& at, const std::string& what) {
  return world.emplace(at.key(), what).second;
}

const auto effect = activity("effect", [](Attempt& at, std::string what) {
  once(at, what);
  return what + "!";
});
const auto undo = activity("undo", [](Attempt& at, std::string what) { once(at, "undo " + what); });
const auto flaky = activity("flaky", [](Attempt& at, int failures) {
  if (at.number() <= failures) throw Broken("attempt " + std::to_string(at.number()));
  once(at, "flaky");
  return at.number();
});
const auto patient = activity("patient",
                              [](Attempt& at, int failures) {
                                if (at.number() <= failures) throw Broken("attempt " + std::to_string(at.number()));
                                once(at, "patient");
                                return at.number();
                              },
                              {.retry = {.attempts = 4, .first_interval = 1min, .max_interval = 1h}});

const std::vector<ActivityRef> kActivities{effect, undo, flaky, patient};

using Action = std::function<void(Script&)>;
struct Sample {
  WorkflowRef workflow;
  std::string input;
  std::vector<Action> actions;  // each when everything rests
  std::function<void(Script&, const ActivityStart&)> meanwhile;
  int shortest_look = 1;  // rows; see AnywhereInAnOrderThatIsCancelledWhileAnActivityRuns
};

struct Life {
  std::string history, effects, messages, outbox;
  Status status;
  int points;
};

Life live(const Sample& sample, std::optional<int> die_at, bool evict, int inbox_limit) {
  world.clear();
  Script script({sample.workflow}, kActivities);
  script.die_at = die_at;
  script.evict_always = evict;
  script.inbox_limit = inbox_limit;
  script.seen_limit = 2;
  if (sample.meanwhile) script.on_activity = [&](const ActivityStart& start) { sample.meanwhile(script, start); };
  script.start(sample.workflow.name(), sample.input);
  for (const Action& action : sample.actions) {
    script.settle();
    action(script);
  }
  script.settle();
  EXPECT_EQ(script.stuck, "") << script.told();
  Life life{script.told(), {}, {}, {}, script.status, script.points};
  for (const auto& [key, what] : world) life.effects += key + " " + what + "\n";
  for (const Outgoing& message : script.messages) life.messages += message.channel + " " + message.data + "\n";
  for (const auto& [id, row] : script.outbox) life.outbox += id + " " + row.data + "\n";
  return life;
}

void expect_same(const Life& life, const Life& reference, const std::string& how) {
  EXPECT_EQ(life.history, reference.history) << how;
  EXPECT_EQ(life.effects, reference.effects) << how;
  EXPECT_EQ(life.messages, reference.messages) << how;
  EXPECT_EQ(life.outbox, reference.outbox) << how;
  EXPECT_EQ(life.status, reference.status) << how;
}

void die_everywhere(const Sample& sample, Status expected) {
  const Life reference = live(sample, std::nullopt, false, 100);
  EXPECT_EQ(reference.status, expected) << reference.history;
  for (const bool evict : {false, true}) {
    for (const int limit : {sample.shortest_look, 100}) {
      const Life calm = live(sample, std::nullopt, evict, limit);
      for (int point = 0; point < calm.points; ++point) {
        const std::string how = "died at point " + std::to_string(point) + (evict ? ", evicting" : "") +
                                ", look limit " + std::to_string(limit);
        expect_same(live(sample, point, evict, limit), reference, how);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

Action message(std::string channel, std::string data) {
  return [=](Script& script) { script.message(channel, data); };
}
const Action fire = [](Script& script) { script.fire_next(); };
const Action cancel = [](Script& script) { script.cancel(); };

const auto order = workflow("order", [](Context& ctx, std::string id) -> Task<Json> {
  const std::string receipt = co_await ctx.run(effect, id);
  ctx.compensate_with(undo, receipt);
  const auto confirmed = co_await ctx.receive_for<Json>("paid", 1h);
  if (!confirmed) throw Broken("unpaid");
  const auto when = ctx.now();
  co_await ctx.sleep(1s);
  const int attempts = co_await ctx.run(flaky, 2);
  const int long_ones = co_await ctx.run(patient, 2);
  ctx.send_event("shipped", "shop", id);
  ctx.publish("log", attempts);
  co_return Json{
      {"receipt", receipt}, {"attempts", attempts + long_ones}, {"later", ctx.now() > when}, {"uuid", ctx.uuid()}};
});

TEST(Crash, AnywhereInAnOrderThatIsPaid) {
  die_everywhere({order, R"("o-1")", {message("paid", R"({"by":"card"})"), fire, fire, fire}, {}}, Status::completed);
}

TEST(Crash, AnywhereInAnOrderWhoseMessageCameFirst) {
  die_everywhere({order,
                  R"("o-1")",
                  {fire, fire, fire},
                  [](Script& script, const ActivityStart& start) {
                    if (start.op == 1 && world.empty()) script.message("paid", "1");
                  }},
                 Status::completed);
}

TEST(Crash, AnywhereInAnOrderThatIsNotPaid) {
  die_everywhere({order, R"("o-1")", {fire}, {}}, Status::failed);
}

TEST(Crash, AnywhereInAnOrderThatIsCancelled) {
  die_everywhere({order, R"("o-1")", {cancel}, {}}, Status::cancelled);
  die_everywhere({order, R"("o-1")", {message("paid", "1"), fire, cancel}, {}}, Status::cancelled);
}

// A recover row stays unread until the run makes progress, so that crashes are counted. A look of one row would see
// nothing behind it, and the cancellation only later; batch.messages is therefore at least 10.
TEST(Crash, AnywhereInAnOrderThatIsCancelledWhileAnActivityRuns) {
  for (const int op : {1, 6, 7}) {
    die_everywhere({order,
                    R"("o-1")",
                    {message("paid", "1"), fire, fire, fire},
                    [op](Script& script, const ActivityStart& start) {
                      if (start.op == op && start.attempt == 1) script.cancel();
                    },
                    10},
                   Status::cancelled);
  }
}

// Workers that died in its first activity are counted whether its start was written by then or not.
TEST(Crash, ThatARunBeganIsNoProgressAndItsDeathsGoOnCounting) {
  const auto deadly = workflow("deadly", [](Context& ctx) -> Task<std::string> { co_return co_await ctx.run(effect, "x"); });
  Script script({deadly}, kActivities);
  const auto crashes = [&] {
    return std::count_if(script.inbox.begin(), script.inbox.end(), [](const auto& mail) {
      return !mail.seen && mail.row.kind == InboxKind::recover;
    });
  };
  script.start("deadly", "null");
  for (int n = 1; n <= 4; ++n) script.put(InboxKind::recover, 0, {}, R"({"crash":true})");  // in a life that wrote nothing
  bool started = false;
  script.on_activity = [&](const ActivityStart&) {
    started = true;
    EXPECT_EQ(script.history.size(), 1u) << "its start is written";
    EXPECT_EQ(crashes(), 4);
  };
  script.settle();
  EXPECT_TRUE(started);
  EXPECT_EQ(script.status, Status::completed);
  EXPECT_EQ(crashes(), 0) << "it got somewhere";
}

// A look brings the first rows only.
TEST(Crash, ConnectionsLostDuringOneActivityHideNoCancel) {
  const auto slow = workflow("slow", [](Context& ctx) -> Task<std::string> { co_return co_await ctx.run(effect, "x"); });
  auto made = Registry::make({slow}, kActivities);
  ASSERT_TRUE(made);
  auto run = Run::make(*made, {"i", "slow", 0}).value();
  const InboxRow start{1, InboxKind::start, 0, {}, "null", {}, 0};
  ASSERT_TRUE(run->deliver({&start, 1}));
  ASSERT_EQ(run->take().activities.size(), 1u);
  const InboxRow rows[] = {{2, InboxKind::recover, 0, {}, R"({"crash": false})", {}, 0},
                           {3, InboxKind::recover, 0, {}, R"({"crash": true})", {}, 0}};
  ASSERT_TRUE(run->deliver(rows));
  const Output out = run->take();
  EXPECT_FALSE(out.release);
  EXPECT_THAT(out.consumed, testing::ElementsAre(2)) << "the death stays, to be counted";
}

const auto mail = workflow("mail", [](Context& ctx) -> Task<std::string> {
  std::string got;
  ctx.subscribe("news");
  for (int i = 0; i < 4; ++i) {
    got += co_await ctx.receive<std::string>(i % 2 == 0 ? "a" : "b");
    got += co_await ctx.run(effect, got);
  }
  ctx.unsubscribe("news");
  co_return got;
});

TEST(Crash, AnywhereWhileMessagesOfTwoChannelsWaitForTheirReader) {
  die_everywhere({mail,
                  "null",
                  {message("b", R"("b1")"), message("b", R"("b2")"), message("a", R"("a1")"), message("c", R"("c1")"),
                   message("a", R"("a2")")},
                  {}},
                 Status::completed);
  die_everywhere({mail,
                  "null",
                  {[](Script& script) {
                    for (const char* channel : {"b", "a", "b", "a", "a", "b"})
                      script.message(channel, '"' + std::string(channel) + '"');
                  }},
                  {}},
                 Status::completed);
}

// ---------------------------------------------------------------------------------------------------- random programs

std::string channel_of(std::mt19937& random) {
  return random() % 2 == 0 ? "a" : "b";
}

Task<int> part(Context& ctx, unsigned seed, int steps) {
  std::mt19937 random(seed);  // the program is its input: the same in every replay
  int sum = 0;
  for (int i = 0; i < steps; ++i) {
    const std::string name = "s" + std::to_string(seed) + "-" + std::to_string(i);
    switch (random() % 11) {
      case 0: sum += static_cast<int>((co_await ctx.run(effect, name)).size()); break;
      case 1: {
        const int failures = static_cast<int>(random() % 5);  // 3 attempts
        const auto outcome = co_await ctx.attempt(flaky, failures);
        sum += outcome ? outcome.value() : 100;
        break;
      }
      case 2: {
        const int failures = static_cast<int>(random() % 3);
        sum += co_await ctx.run(patient, failures);
        break;
      }
      case 3: co_await ctx.sleep(std::chrono::seconds(random() % 100)); break;
      case 4: {
        const std::string channel = channel_of(random);
        const auto got = co_await ctx.receive_for<int>(channel, std::chrono::seconds(random() % 100));
        sum += got ? *got : 1000;
        break;
      }
      case 5: ctx.publish("out", name); break;
      case 6: ctx.send_event("t", "s", name); break;
      case 7: ctx.compensate_with(undo, name); break;
      case 8:
        sum +=
            static_cast<int>(ctx.random() % 7 + static_cast<std::uint64_t>(ctx.now().time_since_epoch().count()) % 3);
        break;
      case 9:
        if (steps > 2) sum += co_await part(ctx, seed * 31 + static_cast<unsigned>(i), steps / 2);
        break;
      case 10:
        if (steps > 2) {
          sum +=
              co_await ctx.shield([](Context& c, unsigned s, int n) -> Task<int> { co_return co_await part(c, s, n); },
                                  seed * 37 + static_cast<unsigned>(i), steps / 3);
        }
        break;
    }
  }
  co_return sum;
}

const auto program = workflow("program", [](Context& ctx, unsigned seed) -> Task<int> {
  const int sum = co_await part(ctx, seed, 12);
  if (seed % 5 == 0) throw Broken("at the end");
  co_return sum;
});

TEST(Crash, RandomProgramsEndTheSameHoweverOftenTheyDie) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 random(seed * 7919UL);
    Sample sample{program, std::to_string(seed), {}, {}};
    for (int i = 0; i < 40; ++i) {
      switch (random() % 8) {
        case 0: sample.actions.push_back(message("a", std::to_string(random() % 10))); break;
        case 1: sample.actions.push_back(message("b", std::to_string(random() % 10))); break;
        case 2:
          if (random() % 6 == 0) sample.actions.push_back(cancel);
          break;
        default: sample.actions.push_back(fire); break;
      }
    }
    const Life reference = live(sample, std::nullopt, false, 100);
    for (int i = 0; i < 10; ++i) {
      const bool evict = random() % 2 == 0;
      const int limit = i % 3 == 0 ? 1 : 100;
      const int point = static_cast<int>(random() % static_cast<unsigned>(reference.points));
      expect_same(live(sample, point, evict, limit), reference,
                  "seed " + std::to_string(seed) + " died at " + std::to_string(point) + (evict ? " evicting" : ""));
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace romancy::test
