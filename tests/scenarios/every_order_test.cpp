// Every order: a cancellation beside a message, a time-out, a timer, a pause between attempts, an activity, a shield, a
// start. In every order, together or one by one, with the run kept in memory or rebuilt, and with the process dying at
// every point in turn. Pure: the replay core over a database in memory (script.hpp).
//
// What must hold in all of them: the first word that can be heard decides; there is one end and one answer; what was
// done is undone exactly if the end is no success; and a death changes neither.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "tests/support/script.hpp"

namespace romancy::test {
namespace {

using namespace resumer;
using namespace std::chrono_literals;

// The world outside: effects by idempotency key, so that an attempt made again has no second one.
std::map<std::string, std::string> world;

const auto book = activity("book", [](Attempt& at, std::string what) {
  world.emplace(at.key(), what);
  return what;
});
const auto unbook = activity("unbook", [](Attempt& at, std::string what) { world.emplace(at.key(), "un" + what); });
const auto later = activity(
    "later",
    [](Attempt& at) {
      if (at.number() == 1) throw std::runtime_error("later");
      world.emplace(at.key(), "later");
    },
    {.retry = {.attempts = 3, .first_interval = 1h, .max_interval = 1h}});

Task<> step(Context& ctx) {
  const std::string what = "book";
  co_await ctx.run(book, what);
  ctx.compensate_with(unbook, what);
}

const auto waits = workflow("waits", [](Context& ctx) -> Task<std::string> {
  co_await step(ctx);
  const auto got = co_await ctx.receive_for<std::string>("mail", 1h);
  co_return got ? *got : "timed out";
});
const auto sleeps = workflow("sleeps", [](Context& ctx) -> Task<std::string> {
  co_await step(ctx);
  co_await ctx.sleep(1h);
  co_return "slept";
});
const auto retries = workflow("retries", [](Context& ctx) -> Task<std::string> {
  co_await step(ctx);
  co_await ctx.run(later);
  co_return "retried";
});
Task<std::string> inside(Context& ctx) {
  co_return co_await ctx.receive<std::string>("mail");
}
const auto shields = workflow("shields", [](Context& ctx) -> Task<std::string> {
  co_await step(ctx);
  const std::string got = co_await ctx.shield(inside);
  co_await ctx.sleep(0s);
  co_return got;
});
const std::vector<WorkflowRef> kWorkflows{waits, sleeps, retries, shields};
const std::vector<ActivityRef> kActivities{book, unbook, later};

struct Case {
  std::string workflow;
  std::string when;                 // "resting": it waits; "busy": its activity runs; "unborn": nothing was read yet
  std::vector<std::string> words;   // in this order
  bool together = false;
  bool evicts = false;
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.workflow + "_" + info.param.when;
  for (const auto& word : info.param.words) name += "_" + word;
  return name + (info.param.together ? "_together" : "") + (info.param.evicts ? "_replaying" : "");
}

void PrintTo(const Case& c, std::ostream* out) { *out << c.workflow; }

void say(Script& script, const std::string& word) {
  if (word == "cancel") script.cancel("enough");
  if (word == "message") script.message("mail", R"("mail")");
  if (word == "timer") script.fire_next();
}

struct Life {
  Status status;
  std::string result;
  std::multimap<std::string, int> effects;
  int points;
};

Life live(const Case& c, std::optional<int> die_at) {
  world.clear();
  Script script(kWorkflows, kActivities);
  script.evict_always = c.evicts;
  script.die_at = die_at;
  const auto say_all = [&] {
    for (const auto& word : c.words) {
      say(script, word);
      if (!c.together) script.settle();
    }
  };
  bool said = false;
  if (c.when == "busy") {
    script.on_activity = [&](const ActivityStart& begun) {
      if (begun.name == "book" && !said) {
        said = true;
        for (const auto& word : c.words) say(script, word);
      }
    };
  }
  script.start(c.workflow, "null");
  if (c.when != "unborn") script.settle();
  if (c.when != "busy") say_all();
  script.settle();
  // A time-out that nobody needed any more must not be there; one that is still waited for comes now.
  for (int i = 0; i < 5 && script.fire_next(); ++i) script.settle();

  Life life{script.status, script.result(), {}, script.points};
  for (const auto& [key, what] : world) life.effects.emplace(what, 1);
  EXPECT_TRUE(is_final(script.status)) << script.told();
  EXPECT_TRUE(script.inbox.empty() && script.deadlines.empty()) << "something is left over";
  const auto ends = std::count_if(script.history.begin(), script.history.end(), [](const HistoryRow& row) {
    return row.kind == HistoryKind::completed || row.kind == HistoryKind::failed || row.kind == HistoryKind::cancelled;
  });
  EXPECT_EQ(ends, 1) << script.told();
  std::map<int, int> answers;
  for (const HistoryRow& row : script.history) {
    if (row.kind == HistoryKind::activity_completed || row.kind == HistoryKind::activity_failed ||
        row.kind == HistoryKind::message_received || row.kind == HistoryKind::wait_timed_out) {
      EXPECT_EQ(++answers[row.op], 1) << script.told();
    }
  }
  EXPECT_EQ(life.effects.count("unbook"), script.status == Status::completed ? 0u : life.effects.count("book")) << script.told();
  return life;
}

class EveryOrder : public testing::TestWithParam<Case> {};

TEST_P(EveryOrder, TheFirstWordDecidesAndADeathChangesNothing) {
  const Case& c = GetParam();
  const Life calm = live(c, std::nullopt);
  const std::string& first = c.words.front();
  const bool cancels = std::find(c.words.begin(), c.words.end(), "cancel") != c.words.end();

  if (c.workflow == "shields") {  // the shielded part has its message, then the cancellation is seen
    EXPECT_EQ(calm.status, cancels ? Status::cancelled : Status::completed);
  } else if (c.when == "busy") {  // whatever comes during an activity, a cancellation among it wins
    EXPECT_EQ(calm.status, cancels ? Status::cancelled : Status::completed);
  } else if (c.when == "unborn") {
    if (first == "cancel") {
      EXPECT_EQ(calm.status, Status::cancelled);
      EXPECT_TRUE(calm.effects.empty()) << "no code runs";
    }
  } else if (c.workflow == "retries" && c.together) {  // the pause is over, but the attempt has not begun: it need not
    EXPECT_EQ(calm.status, cancels ? Status::cancelled : Status::completed);
  } else {
    EXPECT_EQ(calm.status, first == "cancel" ? Status::cancelled : Status::completed);
    if (c.workflow == "waits" && first != "cancel") {
      EXPECT_EQ(calm.result, first == "message" ? R"("mail")" : R"("timed out")");
    }
  }

  // Words that come one by one meet the same run however it died. Those that come together, or to a run that was not
  // begun, may be heard in another order after a death; what live() checks holds all the same.
  for (int point = 0; point < calm.points; ++point) {
    SCOPED_TRACE("dies at point " + std::to_string(point));
    const Life died = live(c, point);
    if (c.together || c.when != "resting") continue;
    EXPECT_EQ(died.status, calm.status);
    EXPECT_EQ(died.result, calm.result);
    EXPECT_EQ(died.effects, calm.effects);
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto orders = [&](const std::string& workflow, const std::string& when, std::vector<std::string> words) {
    std::sort(words.begin(), words.end());
    do {
      for (const bool together : {false, true}) {
        if (together && (words.size() == 1 || when == "busy")) continue;
        for (const bool evicts : {false, true}) all.push_back({workflow, when, words, together, evicts});
      }
    } while (std::next_permutation(words.begin(), words.end()));
  };
  orders("waits", "resting", {"cancel"});
  orders("waits", "resting", {"message"});
  orders("waits", "resting", {"timer"});
  orders("waits", "resting", {"cancel", "message", "timer"});
  orders("waits", "busy", {"cancel"});
  orders("waits", "busy", {"message"});
  orders("waits", "busy", {"cancel", "message"});
  orders("waits", "unborn", {"cancel", "message"});
  orders("sleeps", "resting", {"cancel", "timer"});
  orders("sleeps", "busy", {"cancel"});
  orders("sleeps", "unborn", {"cancel"});
  orders("retries", "resting", {"cancel", "timer"});
  orders("retries", "busy", {"cancel"});
  orders("shields", "resting", {"cancel", "message"});
  orders("shields", "resting", {"message"});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Scenarios, EveryOrder, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace romancy::test
