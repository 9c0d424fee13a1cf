// Concurrent: several things at once in one workflow.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Future;
using romancy::Json;
using romancy::Task;
using romancy::WorkflowCancelled;

namespace {

const auto square = romancy::activity("square", [](Attempt& at, int n) {
  world::effect(at, "square " + std::to_string(n));
  return n * n;
});
const auto refuses = romancy::activity("refuses", [](Attempt& at, std::string why) -> int {
  world::effect(at, "refuses");
  throw romancy::TerminalError(why, "Refused");
});

const auto three_at_once = romancy::workflow("three_at_once", [](Context& ctx, std::string gate) -> Task<std::string> {
  auto [a, b, c] = co_await ctx.when_all(ctx.run(hold, gate), ctx.receive<std::string>("mail"), ctx.sleep(5ms));
  co_return a + " " + b;
});

// So many activities at once, collected in order.
const auto fan_out = romancy::workflow("fan_out", [](Context& ctx, int count) -> Task<int> {
  std::vector<Future<int>> all;
  for (int i = 0; i < count; ++i) all.push_back(ctx.start(ctx.run(square, i)));
  const std::vector<int> results = co_await ctx.wait_all(all);
  int sum = 0;
  for (const int n : results) sum += n;
  co_return sum;
});

// The same, collected as they come.
const auto as_they_come = romancy::workflow("as_they_come", [](Context& ctx, int count) -> Task<int> {
  std::vector<Future<int>> left;
  for (int i = 0; i < count; ++i) left.push_back(ctx.start(ctx.run(square, i)));
  int sum = 0;
  while (!left.empty()) {
    const auto index = co_await ctx.wait_any(left);
    Future<int> ready = std::move(left[index]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(index));
    sum += co_await ready;
  }
  co_return sum;
});

const auto race = romancy::workflow("race", [](Context& ctx, int within_ms) -> Task<std::string> {
  auto first = co_await ctx.when_any(ctx.receive<std::string>("mail"), ctx.sleep(std::chrono::milliseconds(within_ms)));
  std::string how = first.index() == 0 ? first.get<0>() : "late";
  co_await ctx.sleep(1ms);
  co_return how;
});

// A message for a wait that lost stays for the next receive.
const auto race_then_receive = romancy::workflow("race_then_receive", [](Context& ctx) -> Task<Json> {
  Json got = Json::array();
  auto first = co_await ctx.when_any(ctx.receive<std::string>("a"), ctx.receive<std::string>("b"));
  got.push_back(first.index() == 0 ? first.get<0>() : first.get<1>());
  const std::string other = first.index() == 0 ? "b" : "a";
  got.push_back(co_await ctx.receive<std::string>(other));
  co_return got;
});

const auto one_fails = romancy::workflow("one_fails", [](Context& ctx) -> Task<std::string> {
  const std::string why = "because";
  std::string how = "no error";
  try {
    co_await ctx.when_all(ctx.sleep(1h), ctx.receive<Json>("mail", {.within = 2h}), ctx.run(refuses, why));
  } catch (const romancy::ActivityError& e) {
    how = e.type();
  }
  co_await ctx.sleep(1ms);
  co_return how;
});

const auto cancellable_timer = romancy::workflow("cancellable_timer", [](Context& ctx) -> Task<std::string> {
  auto timer = ctx.start(ctx.sleep(1h));
  const auto got = co_await ctx.receive<std::string>("mail");
  timer.cancel("not needed");
  timer.cancel("twice is harmless");
  std::string how = got;
  try {
    co_await timer;
  } catch (const WorkflowCancelled& e) {
    how += ", " + e.reason();
  }
  co_return how;
});

const auto dropped_timer = romancy::workflow("dropped_timer", [](Context& ctx) -> Task<std::string> {
  {
    auto timer = ctx.start(ctx.sleep(1h));
    if (timer.ready()) co_return "?";
  }
  co_await ctx.sleep(1ms);
  co_return "dropped";
});

Task<std::string> hotel(Context& ctx, std::string name) {
  co_await ctx.run(mark, name);
  ctx.compensate_with(undo, name);
  co_await ctx.sleep(1ms);
  const std::string booked = name + " booked";
  co_return co_await ctx.run(mark, booked);
}
const auto parts_at_once = romancy::workflow("parts_at_once", [](Context& ctx, bool fail) -> Task<std::string> {
  const std::string a = "Ritz", b = "Savoy";
  auto [x, y] = co_await ctx.when_all(hotel(ctx, a), hotel(ctx, b));
  if (fail) throw std::runtime_error("no money");
  co_return x + ", " + y;
});

const auto scoped = romancy::workflow("scoped", [](Context& ctx, std::string gate) -> Task<std::string> {
  romancy::Scope scope(ctx);
  auto held = scope.start(ctx.run(hold, gate));
  auto waits = scope.start(ctx.receive<Json>("never"));
  co_await ctx.receive<Json>("stop");
  scope.cancel("found elsewhere");
  std::string how;
  try {
    co_await waits;
  } catch (const WorkflowCancelled& e) {
    how = e.reason();
  }
  const std::string after = "after";
  co_await ctx.run(mark, after);  // the workflow itself is not cancelled
  co_return how;
});

// Listens for commands while its long work goes on.
const auto listens_while_working = romancy::workflow("listens_while_working", [](Context& ctx, std::string gate) -> Task<Json> {
  auto work = ctx.start(ctx.run(hold, gate));
  Json heard = Json::array();
  for (;;) {
    auto first = co_await ctx.when_any(work, ctx.receive<std::string>("command"));
    if (first.index() == 0) break;
    heard.push_back(first.get<1>());
  }
  co_return heard;
});

const auto fan_out_held = romancy::workflow("fan_out_held", [](Context& ctx, std::vector<std::string> gates) -> Task<int> {
  std::vector<Future<std::string>> all;
  for (const auto& gate : gates) all.push_back(ctx.start(ctx.run(hold, gate)));
  const auto done = co_await ctx.wait_all(all);
  co_return static_cast<int>(done.size());
});

}  // namespace

void add_concurrent(Program& program) {
  program.activities.insert(program.activities.end(), {square, refuses});
  program.workflows.insert(program.workflows.end(),
                           {three_at_once, fan_out, as_they_come, race, race_then_receive, one_fails, cancellable_timer,
                            dropped_timer, parts_at_once, scoped, listens_while_working, fan_out_held});
}
