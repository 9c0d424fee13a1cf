// Run: random programs that use everything, under random events, evictions and deaths. What holds for every one of them:
//   - life and replay are the same: whenever it rests, a run rebuilt from history was told the same, waits for the same,
//     and has nothing to write;
//   - every deadline and every wait that is left is somebody's; no message lies unread while a receive waits for it;
//   - each message is received once, or was not received: then it is unread, or back in its competing channel;
//   - each result is recorded once, and somebody made it;
//   - once everything it waits for comes, it ends.
// ROMANCY_RANDOM_SEEDS=100000 for more; ROMANCY_RANDOM_SEED=17 for one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>

#include "tests/support/script.hpp"

namespace romancy::test {
namespace {

using namespace resumer;
using namespace std::chrono_literals;

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What the program was told, in order; a program that begins from the top begins it anew.
std::vector<std::string> trace;
std::map<std::string, int> effects;  // by idempotency key
std::mt19937 luck;                   // of activities that fail until somebody decides

void note(const std::string& what) {
  trace.push_back(what);
}

const auto effect = activity("effect", [](Attempt& at, std::string what) {
  ++effects[at.key()];
  return what + "!";
});
const auto debit = transactional("debit", [](Transaction& at, std::string what) {
  ++effects[at.key()];
  return what + "$";
});
const auto flaky = activity("flaky", [](Attempt& at, int failures) {
  if (at.number() <= failures) throw Broken("attempt " + std::to_string(at.number()));
  ++effects[at.key()];
  return failures;
});
const auto patient = activity("patient",
                              [](Attempt& at, int failures) {
                                if (at.number() <= failures) throw Broken("attempt " + std::to_string(at.number()));
                                ++effects[at.key()];
                                return failures;
                              },
                              {.retry = {.attempts = 4, .first_interval = 1min, .max_interval = 1h}});
const auto undo = activity("undo", [](Attempt& at, std::string what) {
  if (what.size() % 3 == 0 && luck() % 2 == 0) throw TerminalError("not now");
  ++effects[at.key()];
});
const std::vector<ActivityRef> kActivities{effect, debit, flaky, patient, undo};

// ------------------------------------------------------------------------------------------------------- the programs

using Random = std::mt19937;
constexpr int kDeepest = 3;

Task<int> part(Context& ctx, unsigned seed, int depth);

Task<> pause(Context& ctx, int seconds) {
  co_await ctx.sleep(std::chrono::seconds(seconds));
}

Task<int> guarded(Context&, Future<int>* future, std::string name) {
  int got = 0;
  try {
    got = co_await *future;
    note(name + " got " + std::to_string(got));
  } catch (const WorkflowCancelled& e) {
    note(name + " cancelled " + e.reason());
  } catch (const ActivityError& e) {
    note(name + " failed " + e.message());
  }
  co_return got;
}

Task<int> calls(Context& ctx, unsigned kind, std::string name, unsigned arg) {
  const int failures = static_cast<int>(arg % 5);
  int sum = 0;
  try {
    switch (kind) {
      case 0: sum = static_cast<int>((co_await ctx.run(effect, name)).size()); break;
      case 1: sum = static_cast<int>((co_await ctx.run(debit, name)).size()); break;
      case 2: sum = co_await ctx.run(flaky, failures); break;
      case 3: sum = co_await ctx.run(patient, failures); break;
      default: {
        const auto outcome = co_await ctx.attempt(flaky, failures);
        sum = outcome ? 1 : 2;
        break;
      }
    }
  } catch (const ActivityError& e) {
    sum = 100 * e.attempt();
    if (arg % 7 == 0) throw;
  }
  note(name + " = " + std::to_string(sum));
  co_return sum;
}

Task<int> receives(Context& ctx, std::string channel, std::string name, unsigned arg) {
  const auto within = std::chrono::seconds(arg % 100);
  int got = -1;
  if (arg % 3 == 0 && channel.size() == 1) {
    got = co_await ctx.receive<int>(channel);
  } else {
    const auto some = co_await ctx.receive_for<int>(channel, within);
    if (some) got = *some;
  }
  note(name + " read " + std::to_string(got));
  co_return got;
}

Task<int> races(Context& ctx, unsigned seed, int depth, std::string name) {
  Random random(seed);
  const int nap = static_cast<int>(random() % 100);
  const std::string channel = random() % 2 == 0 ? "jobs" : "a";
  switch (random() % 4) {
    case 0: {
      auto first = co_await ctx.when_any(part(ctx, seed + 1, depth + 1), part(ctx, seed + 2, depth + 1));
      note(name + " any " + std::to_string(first.index()));
      break;
    }
    case 1: {
      const std::string what = name + " wins";
      auto first = co_await ctx.when_any(receives(ctx, channel, name, seed | 1), ctx.run(debit, what), pause(ctx, nap));
      note(name + " any " + std::to_string(first.index()));
      break;
    }
    case 2: {
      auto first = co_await ctx.when_any(ctx.receive<int>(channel), part(ctx, seed + 1, depth + 1), pause(ctx, nap));
      note(name + " any " + std::to_string(first.index()));
      break;
    }
    default: {
      auto kept = ctx.start(part(ctx, seed + 1, depth + 1));
      auto first = co_await ctx.when_any(kept, ctx.sleep(std::chrono::seconds(nap)));
      note(name + " any " + std::to_string(first.index()));
      if (first.index() == 1 && random() % 3 != 0) co_return co_await guarded(ctx, &kept, name);
      break;
    }
  }
  co_return nap;
}

Task<int> collects(Context& ctx, unsigned seed, int depth, std::string name) {
  Random random(seed);
  std::vector<Future<int>> all;
  const unsigned count = 2 + random() % 3;
  for (unsigned i = 0; i < count; ++i) all.push_back(ctx.start(part(ctx, seed + 10 + i, depth + 1)));
  if (random() % 4 == 0) all[random() % count].cancel("by " + name);
  int sum = 0;
  if (random() % 3 == 0) {
    try {
      for (const int got : co_await ctx.wait_all(all)) sum += got;
    } catch (const ActivityError&) {
      note(name + " wait_all failed");
    }
    co_return sum;
  }
  while (!all.empty()) {
    const auto index = co_await ctx.wait_any(all);
    sum += co_await guarded(ctx, &all[index], name);
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(index));
    if (random() % 6 == 0) break;  // the others are dropped
    if (!all.empty() && random() % 6 == 0) all.back().cancel("late by " + name);
  }
  co_return sum;
}

Task<int> scoped(Context& ctx, unsigned seed, int depth, std::string name) {
  Random random(seed);
  romancy::Scope scope(ctx);
  auto one = scope.start(part(ctx, seed + 1, depth + 1));
  auto two = scope.start(
      ctx.shield([](Context& c, unsigned s, int d) -> Task<int> { co_return co_await part(c, s, d); }, seed + 2, depth + 1));
  if (random() % 2 == 0) co_await ctx.sleep(std::chrono::seconds(random() % 50));
  if (random() % 2 == 0) scope.cancel("scope of " + name);
  int sum = co_await guarded(ctx, &one, name);
  if (random() % 3 != 0) sum += co_await guarded(ctx, &two, name);
  co_return sum;
}

Task<int> part(Context& ctx, unsigned seed, int depth) {
  Random random(seed * 2654435761u + 1);
  int sum = 0;
  const int steps = depth >= kDeepest ? 1 : 1 + static_cast<int>(random() % (depth == 0 ? 6 : 3));
  for (int i = 0; i < steps; ++i) {
    const std::string name = std::to_string(seed) + "." + std::to_string(i);
    const unsigned arg = random(), inner = random() % 1'000'000;
    unsigned what = random() % 22;
    if (depth >= kDeepest) what %= 15;
    switch (what) {
      case 0: case 1: case 2: sum += co_await calls(ctx, arg % 5, name, inner); break;
      case 3: co_await ctx.sleep(std::chrono::seconds(arg % 100)); break;
      case 4: case 5: {
        const std::string channel = arg % 2 == 0 ? "a" : "b";
        sum += co_await receives(ctx, channel, name, inner);
        break;
      }
      case 6: case 7: sum += co_await receives(ctx, std::string("jobs"), name, inner); break;
      case 8: sum += co_await receives(ctx, std::string("news"), name, inner); break;
      case 9:
        if (arg % 3 == 0) ctx.unsubscribe("jobs");
        else ctx.subscribe("jobs", ChannelMode::competing);
        break;
      case 10:
        if (arg % 3 == 0) ctx.unsubscribe("news");
        else ctx.subscribe("news");
        break;
      case 11: {
        ctx.compensate_with(undo, name);
        if (arg % 4 == 0) ctx.forget_compensations();
        break;
      }
      case 12: {
        try {
          sum += ctx.side_effect("draw", [&]() -> int {
            if (luck() % 4 == 0) throw Broken("no luck");
            return static_cast<int>(luck() % 10);
          });
        } catch (const SideEffectError& e) {
          sum += 7;
        }
        note(name + " drew " + std::to_string(sum) + " at " + std::to_string(ctx.now().time_since_epoch().count()) +
             " " + ctx.uuid());
        break;
      }
      case 13:
        ctx.publish("out", name);
        ctx.send_event("t", "s", name);
        break;
      case 14:
        if (arg % 3 == 0) ctx.leave("crew");
        else ctx.join("crew");
        note(name + " length " + std::to_string(ctx.history_length()) + (ctx.cancelled() ? " cancelled" : ""));
        break;
      case 15: {
        auto [x, y] = co_await ctx.when_all(part(ctx, inner, depth + 1), part(ctx, inner + 1, depth + 1));
        sum += x + y;
        break;
      }
      case 16: case 17: sum += co_await races(ctx, inner, depth, name); break;
      case 18: sum += co_await collects(ctx, inner, depth, name); break;
      case 19: sum += co_await scoped(ctx, inner, depth, name); break;
      case 20:
        sum += co_await ctx.shield([](Context& c, unsigned s, int d) -> Task<int> { co_return co_await part(c, s, d); },
                                   inner, depth + 1);
        break;
      case 21: {
        bool cancelled = false;
        try {
          sum += co_await part(ctx, inner, depth + 1);
        } catch (const WorkflowCancelled& e) {
          cancelled = true;
          note(name + " caught " + e.reason());
        }
        if (cancelled) ctx.publish("out", name);
        break;
      }
      default: break;
    }
  }
  note("part " + std::to_string(seed) + " is over");
  co_return sum;
}

Task<int> whole(Context& ctx, unsigned seed) {
  const unsigned generation = static_cast<unsigned>(ctx.generation());
  if (seed % 2 == 0) ctx.subscribe("jobs", ChannelMode::competing);
  const int sum = co_await part(ctx, seed * 5 + generation, 0);
  if (seed % 7 == 0) throw Broken("at the end");
  if (generation < seed % 3) {
    ctx.forget_compensations();
    ctx.recur(seed);
  }
  co_return sum;
}

const auto plain = workflow("plain", [](Context& ctx, unsigned seed) -> Task<int> {
  trace.clear();
  return whole(ctx, seed);
});
const auto timed = workflow("timed", [](Context& ctx, unsigned seed) -> Task<int> {
  trace.clear();
  return whole(ctx, seed);
},
                            {.timeout = 3min});
const auto narrow = workflow("narrow",
                             [](Context& ctx, unsigned seed) -> Task<int> {
                               trace.clear();
                               for (int i = 0; i < 8; ++i) co_await part(ctx, seed + 1000u * static_cast<unsigned>(i), 0);
                               co_return co_await whole(ctx, seed);
                             },
                             {.max_history = 100});

// ---------------------------------------------------------------------------------------------------------- the world

class World {
 public:
  World(unsigned seed, bool calm) : seed_(seed), calm_(calm), random_(seed * 7919 + (calm ? 1 : 0)) {
    trace.clear();
    effects.clear();
    luck.seed(seed);
    script_.inbox_limit = chance(50) ? 100 : 10;
    script_.seen_limit = 2;
    script_.evict_always = !calm && chance(30);
    script_.choose = [this](std::size_t size) { return random_() % size; };
    script_.on_activity = [this](const ActivityStart&) {
      if (chance(30)) event();
    };
    if (!calm) script_.dies = [this, often = 3 + seed % 4 * 3] { return chance(often); };
    workflow_ = seed % 5 == 1 ? "timed" : seed % 5 == 2 ? "narrow" : "plain";
  }

  void live() {
    script_.start(workflow_, std::to_string(seed_));
    script_.settle();
    check();
    const int rounds = 5 + static_cast<int>(random_() % 20);
    for (int i = 0; i < rounds && going(); ++i) {
      for (unsigned n = 1 + random_() % 3; n > 0; --n) event();
      if (!calm_ && chance(30)) script_.evict();
      settle();
    }
    for (int i = 0; going(); ++i) {  // everything comes that it can wait for
      if (i == 500) {
        ADD_FAILURE() << "it does not come to its end";
        return;
      }
      if (!script_.note.empty()) script_.put(InboxKind::compensate, 0, {}, chance(50) ? R"({"retry":true})" : "{}");
      for (const char* channel : {"a", "b"}) send(channel);
      queue_.push_back(std::to_string(++sent_));
      match();
      script_.fire_next();
      settle();
    }
    account();
  }
  [[nodiscard]] std::string told() const { return script_.told() + script_.stuck; }

 private:
  bool chance(unsigned percent) { return random_() % 100 < percent; }
  [[nodiscard]] bool going() const {
    return script_.stuck.empty() && !is_final(script_.status) && !testing::Test::HasFailure();
  }
  void send(const std::string& channel) {
    if (is_final(script_.status)) return;
    script_.message(channel, std::to_string(++sent_));
  }
  void match() {
    collect();
    while (!queue_.empty() && script_.distribute("jobs", queue_.front())) queue_.erase(queue_.begin());
  }
  void collect() {
    queue_.insert(queue_.end(), script_.given_back.begin(), script_.given_back.end());
    script_.given_back.clear();
  }
  void event() {
    switch (random_() % 12) {
      case 0: send("a"); break;
      case 1: send("b"); break;
      case 2:
        if (script_.subscriptions.contains("news")) send("news");
        break;
      case 3: queue_.push_back(std::to_string(++sent_)); break;
      case 4: case 5: match(); break;
      case 6: case 7: case 8: script_.fire_next(); break;
      case 9:
        if (!script_.deadlines.empty()) {
          auto some = script_.deadlines.begin();
          std::advance(some, random_() % script_.deadlines.size());
          script_.fire(some->first);
        }
        break;
      case 10:
        if (chance(15)) script_.cancel("by chance");
        break;
      case 11:
        if (!script_.note.empty()) script_.put(InboxKind::compensate, 0, {}, chance(50) ? R"({"retry":true})" : "{}");
        break;
    }
  }
  void settle() {
    script_.settle();
    check();
  }

  std::unique_ptr<Run> rebuilt() {
    auto run = Run::make(script_.registry(), {"i-1", workflow_, script_.generation}).value();
    run->clock(script_.clock_us);
    const auto replayed = run->replay(script_.history);
    EXPECT_TRUE(replayed) << replayed.error().text;
    return run;
  }

  // At rest.
  void check() {
    EXPECT_EQ(script_.stuck, "");
    if (!script_.stuck.empty()) return;
    const auto lived = trace;
    auto run = rebuilt();
    EXPECT_EQ(trace, lived) << "replay told something else";
    Output output = run->take();
    // What a transactional activity's result took back may be said again.
    for (const std::int32_t op : std::exchange(output.timers_over, {}))
      EXPECT_FALSE(script_.deadlines.contains(op) || script_.waits.contains(op)) << "left behind: operation " << op;
    EXPECT_TRUE(output.empty()) << "a rebuilt run has something to write: " << output.history.size() << " rows, "
                                << output.timers.size() << " timers";
    EXPECT_TRUE(output.activities.empty() || output.release);
    EXPECT_EQ(output.status, script_.status);
    EXPECT_EQ(output.note, script_.note);
    if (!is_final(script_.status)) {
      std::vector<InboxRow> left;
      for (const auto& mail : script_.inbox) {
        EXPECT_TRUE(mail.seen);
        EXPECT_EQ(mail.row.op, 0) << "a competing message that nobody waits for stayed";
        EXPECT_EQ(mail.row.kind, InboxKind::message);
        left.push_back(mail.row);
      }
      EXPECT_TRUE(run->deliver(left));
      EXPECT_TRUE(run->take().history.empty()) << "an unread message was waited for";
      for (const auto& [op, deadline] : script_.deadlines) wanted(deadline.kind, op);
      for (const auto& [op, channel] : script_.waits) {
        auto other = rebuilt();
        const std::vector<InboxRow> row{{999'999, InboxKind::message, op, channel, "0", "{}", 1}};
        EXPECT_TRUE(other->deliver(row));
        EXPECT_TRUE(other->take().given_back.empty()) << "nobody waits with operation " << op;
      }
    }
    trace = lived;
  }
  void wanted(TimerKind kind, std::int32_t op) {
    if (kind == TimerKind::expiry) return;
    auto run = rebuilt();
    const std::vector<InboxRow> row{{999'999,
                                     kind == TimerKind::sleep   ? InboxKind::timer
                                     : kind == TimerKind::retry ? InboxKind::retry
                                                                : InboxKind::timeout,
                                     op, {}, {}, {}, 0}};
    EXPECT_TRUE(run->deliver(row));
    EXPECT_FALSE(run->take().history.empty()) << "nobody waits for deadline " << op;
  }

  // At the end.
  void account() {
    if (testing::Test::HasFailure()) return;
    collect();
    std::vector<std::string> all = queue_;
    all.insert(all.end(), script_.unread.begin(), script_.unread.end());
    auto generations = script_.archive;
    generations.push_back(script_.history);
    for (std::size_t generation = 0; generation < generations.size(); ++generation) {
      std::map<std::int32_t, int> results;
      for (const HistoryRow& row : generations[generation]) {
        if (row.kind == HistoryKind::message_received) all.push_back(Json::parse(row.data)["data"].dump());
        if (row.kind != HistoryKind::activity_completed) continue;
        const std::string key = "i-1:" + std::to_string(row.op) + ":" + std::to_string(generation);
        EXPECT_EQ(++results[row.op], 1) << "the result of operation " << row.op << " is recorded twice";
        EXPECT_GE(effects[key], 1) << "nobody made the result of " << key;
      }
    }
    std::vector<int> numbers;
    for (const std::string& number : all) numbers.push_back(std::stoi(number));
    std::sort(numbers.begin(), numbers.end());
    std::vector<int> expected(static_cast<std::size_t>(sent_));
    for (int i = 0; i < sent_; ++i) expected[static_cast<std::size_t>(i)] = i + 1;
    EXPECT_EQ(numbers, expected) << "a message was lost, or read twice";
    EXPECT_TRUE(script_.deadlines.empty() && script_.waits.empty());
  }

  unsigned seed_;
  bool calm_;
  Random random_;
  Script script_{{plain, timed, narrow}, kActivities};
  std::string workflow_;
  std::vector<std::string> queue_;  // of the competing channel
  int sent_ = 0;
};

TEST(Random, ProgramsLiveAndReplayAlikeUnderEveryEvent) {
  unsigned first = 1, last = 300;
  if (const char* count = std::getenv("ROMANCY_RANDOM_SEEDS")) last = static_cast<unsigned>(std::atoi(count));
  if (const char* one = std::getenv("ROMANCY_RANDOM_SEED")) first = last = static_cast<unsigned>(std::atoi(one));
  for (unsigned seed = first; seed <= last; ++seed) {
    for (const bool calm : {true, false}) {
      SCOPED_TRACE("ROMANCY_RANDOM_SEED=" + std::to_string(seed) + (calm ? ", calm" : ", with deaths and evictions"));
      World world(seed, calm);
      world.live();
      if (HasFailure()) {
        ADD_FAILURE() << world.told();
        return;
      }
    }
  }
}

}  // namespace
}  // namespace romancy::test
