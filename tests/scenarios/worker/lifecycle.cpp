// Lifecycle: input, output, how a workflow ends, how it is made of coroutines.
#include <cmath>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

struct Person {
  std::string name;
  std::int32_t age = 0;
  std::vector<std::string> tags;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Person, name, age, tags)

const auto echo = romancy::workflow("echo", [](Context&, Json input) -> Task<Json> { co_return input; });
const auto nothing = romancy::workflow("nothing", [](Context&) -> Task<> { co_return; });
const auto older = romancy::workflow("older", [](Context&, Person person) -> Task<Person> {
  ++person.age;
  co_return person;
});
const auto throws_text = romancy::workflow("throws_text", [](Context& ctx, std::string text) -> Task<> {
  co_await ctx.sleep(1ms);
  throw std::runtime_error(text);
});
const auto throws_int = romancy::workflow("throws_int", [](Context&) -> Task<> {
  throw 42;
  co_return;
});
const auto no_json = romancy::workflow("no_json", [](Context&) -> Task<std::vector<double>> {
  co_return std::vector<double>{0.5, std::nan("")};
});
const auto large = romancy::workflow("large", [](Context&, int bytes) -> Task<std::string> {
  co_return std::string(static_cast<std::size_t>(bytes), 'l');
});

// A workflow made of coroutines, some of which throw.
Task<int> fibonacci(Context& ctx, int n) {
  if (n < 2) co_return n;
  const int a = co_await fibonacci(ctx, n - 1);
  const int b = co_await fibonacci(ctx, n - 2);
  co_return a + b;
}
Task<int> deep(Context& ctx, int depth) {
  if (depth == 0) {
    const std::string what = "bottom";
    co_await ctx.run(mark, what);
    co_await ctx.sleep(1ms);
    co_return 0;
  }
  const int below = co_await deep(ctx, depth - 1);
  co_return below + 1;
}
Task<int> may_throw(Context& ctx, int n) {
  co_await ctx.sleep(1ms);
  if (n % 2 == 0) throw std::domain_error("even");
  co_return n;
}
const auto parts = romancy::workflow("parts", [](Context& ctx, int n) -> Task<int> { co_return co_await fibonacci(ctx, n); });
const auto deep_parts = romancy::workflow("deep_parts", [](Context& ctx, int depth) -> Task<int> { co_return co_await deep(ctx, depth); });
const auto throwing_parts = romancy::workflow("throwing_parts", [](Context& ctx, int count) -> Task<Json> {
  Json all = Json::array();
  for (int i = 0; i < count; ++i) {
    try {
      all.push_back(co_await may_throw(ctx, i));
    } catch (const std::domain_error& e) {
      all.push_back(e.what());
    }
  }
  co_return all;
});

// Activities, sleeps, messages, a branch and a loop in one.
const auto everything = romancy::workflow("everything", [](Context& ctx, int rounds) -> Task<Json> {
  Json log = Json::array();
  ctx.subscribe("everything-" + ctx.instance_id());
  for (int i = 0; i < rounds; ++i) {
    const std::string what = "round " + std::to_string(i);
    log.push_back(co_await ctx.run(mark, what));
    ctx.compensate_with(undo, what);
    co_await ctx.sleep(1ms);
    ctx.publish("mail", i, {.to = ctx.instance_id()});
    log.push_back(co_await ctx.receive<int>("mail"));
    const auto none = co_await ctx.receive_for<Json>("never", 1ms);
    log.push_back(none.has_value());
    if (ctx.random() % 2 == 0) {
      ctx.send_event("round.even", "scenario", i);
    } else {
      ctx.send_event("round.odd", "scenario", i);
    }
  }
  co_return log;
});

// Makes a text of so many bytes and does something with it.
struct Large {
  std::string how;
  int bytes = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Large, how, bytes)
const auto grows = romancy::activity("grows", [](romancy::Attempt& at, int bytes) {
  world::effect(at, "grows");
  return std::string(static_cast<std::size_t>(bytes), 'x');
});
const auto swallows = romancy::activity("swallows", [](romancy::Attempt& at, std::string text) {
  world::effect(at, "swallows");
  return static_cast<int>(text.size());
});
const auto grown = romancy::workflow("grown", [](Context& ctx, Large job) -> Task<std::string> {
  const std::string what = "before";
  co_await ctx.run(mark, what);
  ctx.compensate_with(undo, what);
  const std::string text(static_cast<std::size_t>(job.bytes), 'x');
  if (job.how == "activity result") co_await ctx.run(grows, job.bytes);
  if (job.how == "activity input") co_await ctx.run(swallows, text);
  if (job.how == "message") ctx.publish("news", text);
  if (job.how == "event") ctx.send_event("news", "scenario", text);
  if (job.how == "side effect") ctx.side_effect("news", [&] { return text; });
  if (job.how == "compensation") ctx.compensate_with(undo, text);
  if (job.how == "output") co_return text;
  co_return "done";
});

}  // namespace

void add_lifecycle(Program& program) {
  program.workflows.insert(program.workflows.end(), {echo, nothing, older, throws_text, throws_int, no_json, large, parts,
                                                     deep_parts, throwing_parts, everything, grown});
  program.activities.insert(program.activities.end(), {grows, swallows});
}
