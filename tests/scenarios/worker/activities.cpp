// Activities: what they take and give, how they fail, how they are tried again.
#include <cmath>
#include <map>
#include <optional>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

enum class Size { small, large };
NLOHMANN_JSON_SERIALIZE_ENUM(Size, {{Size::small, "small"}, {Size::large, "large"}})

struct Line {
  std::string sku;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Line, sku, cents)

struct Order {
  std::string id;
  Size size = Size::small;
  std::vector<Line> lines;
  std::map<std::string, std::vector<int>> tags;
  double weight = 0;
  bool gift = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, size, lines, tags, weight, gift)

struct OutOfStock : std::runtime_error {
  using std::runtime_error::runtime_error;
};

const auto pack = romancy::activity("pack", [](Attempt& at, Order order) {
  world::effect(at, "pack");
  order.lines.push_back({"label", 0});
  order.tags["packed"] = {1, 2, 3};
  return order;
});
const auto echo_json = romancy::activity("echo_json", [](Attempt&, Json value) { return value; });
const auto tick = romancy::activity("tick", [](Attempt& at) { world::effect(at, "tick"); });
const auto who = romancy::activity("who", [](Attempt& at) { return at.instance_id(); });
const auto key_of = romancy::activity("key_of", [](Attempt& at, int failures) {
  if (at.number() <= failures) throw std::runtime_error("again");
  return at.key();
});
const auto out_of_stock = romancy::activity(
    "out_of_stock",
    [](Attempt& at, std::string sku) -> int {
      world::effect(at, "look");
      throw OutOfStock("no " + sku + " left");
    },
    {.retry = {.attempts = 3, .first_interval = 1ms}});
const auto decline = romancy::activity("decline", [](Attempt& at, std::string card) -> int {
  world::effect(at, "decline");
  throw romancy::TerminalError("card " + card + " has no money", "CardDeclined");
});
const auto bad_request = romancy::activity("bad_request", [](Attempt& at) -> int {
  world::effect(at, "request");
  throw romancy::TerminalError("400");
});
const auto throws_a_number = romancy::activity("throws_a_number", [](Attempt&) -> int { throw 7; }, {.retry = {.attempts = 1}});
const auto only_once = romancy::activity(
    "only_once",
    [](Attempt& at) -> int {
      world::effect(at, "once");
      throw std::runtime_error("no luck");
    },
    {.retry = {.attempts = 1}});
const auto stubborn = romancy::activity(
    "stubborn",
    [](Attempt& at, int failures) {
      world::effect(at, "try");
      if (at.number() <= failures) throw std::runtime_error("still busy");
      return at.number();
    },
    {.retry = {.attempts = 0, .first_interval = 1ms, .max_interval = 2ms}});
// Its first pause is longer than what waits in memory.
const auto slow_retry = romancy::activity(
    "slow_retry",
    [](Attempt& at, int failures) {
      world::effect(at, "try");
      if (at.number() <= failures) throw std::runtime_error("come back later");
      return at.number();
    },
    {.retry = {.attempts = 3, .first_interval = 1010ms, .coefficient = 1, .jitter = 0}});
const auto not_a_number = romancy::activity("not_a_number", [](Attempt&) { return std::vector<double>{1, std::nan("")}; }, {.retry = {.attempts = 1}});
const auto bad_utf8 = romancy::activity("bad_utf8", [](Attempt&) { return std::string("caf\xe9"); }, {.retry = {.attempts = 1}});
const auto talkative = romancy::activity(
    "talkative", [](Attempt&) -> int { throw std::runtime_error(std::string(100'000, 'x')); }, {.retry = {.attempts = 1}});
const auto blob = romancy::activity("blob", [](Attempt&, int bytes) { return std::string(static_cast<std::size_t>(bytes), 'b'); });
const auto length = romancy::activity("length", [](Attempt&, std::string text) { return static_cast<int>(text.size()); });

// Handles that do not agree with what is registered under the name; and one that nobody registered.
const auto pack_with_text = romancy::activity("pack", [](Attempt&, Json) { return Json(); });
const auto who_as_number = romancy::activity("who", [](Attempt&) { return 0; });
const auto nobody = romancy::activity("nobody_registered_this", [](Attempt&) { return 0; });

std::string told(const romancy::ActivityError& e) {
  return e.activity() + "|" + e.type() + "|" + e.message() + "|" + std::to_string(e.attempt());
}

template <class Body>
auto catching(std::string name, Body body) {
  return romancy::workflow(std::move(name), [body](Context& ctx) -> Task<std::string> {
    std::string said = "no error";
    try {
      co_await body(ctx);
    } catch (const romancy::ActivityError& e) {
      said = told(e);
    }
    co_return said;
  });
}

const auto one_step = romancy::workflow("one_step", [](Context& ctx, std::string what) -> Task<std::string> {
  co_return co_await ctx.run(mark, what);
});

const auto packed = romancy::workflow("packed", [](Context& ctx, Order order) -> Task<Order> {
  const Order with_label = co_await ctx.run(pack, order);
  co_await ctx.receive<Json>("send it");  // the struct survives the suspension
  co_return with_label;
});

const auto through = romancy::workflow("through", [](Context& ctx, Json value) -> Task<Json> {
  co_return co_await ctx.run(echo_json, value);
});

const auto ticking = romancy::workflow("ticking", [](Context& ctx, int times) -> Task<int> {
  for (int i = 0; i < times; ++i) co_await ctx.run(tick);
  co_return times;
});

const auto in_order = romancy::workflow("in_order", [](Context& ctx, std::vector<std::string> steps) -> Task<std::string> {
  std::string all;
  for (const std::string& step : steps) all += co_await ctx.run(mark, step);
  co_return all;
});

const auto retried = romancy::workflow("retried", [](Context& ctx, Flaky job) -> Task<int> { co_return co_await ctx.run(flaky, job); });

const auto whose = romancy::workflow("whose", [](Context& ctx) -> Task<std::string> { co_return co_await ctx.run(who); });

const auto keys = romancy::workflow("keys", [](Context& ctx) -> Task<std::vector<std::string>> {
  std::vector<std::string> all;
  all.push_back(co_await ctx.run(key_of, 0));
  all.push_back(co_await ctx.run(key_of, 2));
  co_return all;
});

const auto uncaught = romancy::workflow("uncaught", [](Context& ctx) -> Task<int> {
  co_return co_await ctx.run(out_of_stock, std::string("tea"));
});

const auto outcome = romancy::workflow("outcome", [](Context& ctx) -> Task<std::string> {
  const auto good = co_await ctx.attempt(mark, std::string("fine"));
  const auto bad = co_await ctx.attempt(decline, std::string("4242"));
  co_return good.value() + (good ? " ok " : " ? ") + (bad.ok() ? "?" : bad.error().type() + " at " + std::to_string(bad.error().attempt()));
});

const auto outcome_rethrown = romancy::workflow("outcome_rethrown", [](Context& ctx) -> Task<int> {
  const auto bad = co_await ctx.attempt(decline, std::string("4242"));
  co_return bad.value();
});

// The branch that a failure chose is kept, however often it is replayed.
const auto branching = romancy::workflow("branching", [](Context& ctx) -> Task<std::string> {
  bool failed = false;
  try {
    co_await ctx.run(only_once);
  } catch (const romancy::ActivityError&) {
    failed = true;
  }
  const std::string what = failed ? "plan b" : "plan a";
  co_await ctx.run(mark, what);
  for (int i = 0; i < 3; ++i) co_await ctx.sleep(1ms);
  co_return what;
});

const auto for_ever = romancy::workflow("for_ever", [](Context& ctx, int failures) -> Task<int> {
  co_return co_await ctx.run(stubborn, failures);
});
const auto later = romancy::workflow("later", [](Context& ctx, int failures) -> Task<int> {
  co_return co_await ctx.run(slow_retry, failures);
});

const auto large_result = romancy::workflow("large_result", [](Context& ctx, int bytes) -> Task<int> {
  const std::string got = co_await ctx.run(blob, bytes);
  co_await ctx.sleep(1ms);
  co_return co_await ctx.run(length, got);
});

// A failure that does not matter: the order goes on.
const auto tolerant = romancy::workflow("tolerant", [](Context& ctx) -> Task<std::string> {
  const auto mail = co_await ctx.attempt(only_once);
  const std::string what = "order";
  co_await ctx.run(mark, what);
  co_return mail ? "mailed" : "not mailed: " + mail.error().message();
});

const auto replayed_often = romancy::workflow("replayed_often", [](Context& ctx, int naps) -> Task<int> {
  int sum = 0;
  for (int i = 0; i < naps; ++i) {
    const std::string what = "step " + std::to_string(i);
    sum += static_cast<int>((co_await ctx.run(mark, what)).size());
    co_await ctx.sleep(1ms);
  }
  co_return sum;
});

const auto held_step = romancy::workflow("held_step", [](Context& ctx, std::string gate) -> Task<std::string> {
  co_return co_await ctx.run(hold, gate);
});

}  // namespace

void add_activities(Program& program) {
  program.activities.insert(program.activities.end(),
                            {mark, undo, hold, flaky, pack, echo_json, tick, who, key_of, out_of_stock, decline, bad_request,
                             throws_a_number, only_once, stubborn, slow_retry, not_a_number, bad_utf8, talkative, blob, length});
  program.workflows.insert(
      program.workflows.end(),
      {one_step, packed, through, ticking, in_order, retried, whose, keys, uncaught, outcome, outcome_rethrown, branching,
       for_ever, later, large_result, tolerant, replayed_often, held_step,
       catching("catch_used_up", [](Context& ctx) -> Task<> { co_await ctx.run(out_of_stock, std::string("tea")); }),
       catching("catch_terminal", [](Context& ctx) -> Task<> { co_await ctx.run(decline, std::string("4242")); }),
       catching("catch_bad_request", [](Context& ctx) -> Task<> { co_await ctx.run(bad_request); }),
       catching("catch_number", [](Context& ctx) -> Task<> { co_await ctx.run(throws_a_number); }),
       catching("catch_once", [](Context& ctx) -> Task<> { co_await ctx.run(only_once); }),
       catching("catch_unknown", [](Context& ctx) -> Task<> { co_await ctx.run(nobody); }),
       catching("catch_bad_input",
                [](Context& ctx) -> Task<> {
                  const Json order{{"id", "o-1"}, {"size", "small"}, {"lines", {{{"sku", 7}, {"cents", 1}}}}, {"tags", Json::object()}, {"weight", 1}, {"gift", false}};
                  co_await ctx.run(pack_with_text, order);
                }),
       catching("catch_bad_result", [](Context& ctx) -> Task<> { co_await ctx.run(who_as_number); }),
       catching("catch_nan", [](Context& ctx) -> Task<> { co_await ctx.run(not_a_number); }),
       catching("catch_utf8", [](Context& ctx) -> Task<> { co_await ctx.run(bad_utf8); }),
       catching("catch_talkative", [](Context& ctx) -> Task<> { co_await ctx.run(talkative); })});
}
