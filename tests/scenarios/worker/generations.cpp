// Generations: continue as new; side effects; limits; compensations that fail for good; retries by kind and time.
#include <atomic>
#include <thread>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

struct Loop {
  int left = 0;
  int sum = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Loop, left, sum)

const auto loops = romancy::workflow("loops", [](Context& ctx, Loop loop) -> Task<int> {
  const std::string what = "round " + std::to_string(loop.left);
  co_await ctx.run(mark, what);
  co_await ctx.sleep(1ms);
  if (loop.left == 0) co_return loop.sum;
  ctx.recur(Loop{loop.left - 1, loop.sum + loop.left});
});

// One message a generation.
const auto mail_loop = romancy::workflow("mail_loop", [](Context& ctx, Json got) -> Task<Json> {
  got.push_back(co_await ctx.receive<Json>("mail"));
  if (got.back() == "end") co_return got;
  ctx.recur(got);
});

const auto subscribed_loop = romancy::workflow("subscribed_loop", [](Context& ctx, Loop loop) -> Task<Json> {
  const std::string channel = "news-" + ctx.instance_id();
  if (ctx.generation() == 0) ctx.subscribe(channel);
  const int got = co_await ctx.receive<int>(channel);
  if (loop.left == 0) co_return Json{loop.sum + got, ctx.generation()};
  ctx.recur(Loop{loop.left - 1, loop.sum + got});
});

const auto recur_with_saga = romancy::workflow("recur_with_saga", [](Context& ctx, bool forget) -> Task<std::string> {
  if (ctx.generation() == 1) co_return "second";
  const std::string what = "step";
  co_await ctx.run(mark, what);
  ctx.compensate_with(undo, what);
  if (forget) ctx.forget_compensations();
  ctx.recur(forget);
});

// The side effect's value is recorded: replays do not run it again.
std::atomic<int> calls = 0;
const auto asks_the_world = romancy::workflow("asks_the_world", [](Context& ctx) -> Task<bool> {
  const int a = ctx.side_effect("call", [] { return ++calls; });
  const std::string seen = std::to_string(a);
  const std::string recorded = co_await ctx.run(mark, seen);
  for (int i = 0; i < 4; ++i) co_await ctx.sleep(1ms);
  co_return seen == recorded;
});

const auto limited = romancy::workflow(
    "limited",
    [](Context& ctx) -> Task<> {
      const std::string what = "step";
      co_await ctx.run(mark, what);
      ctx.compensate_with(undo, what);
      co_await ctx.sleep(1h);
    },
    {.timeout = 150ms});
const auto in_time = romancy::workflow(
    "in_time", [](Context& ctx) -> Task<std::string> {
      co_await ctx.sleep(1ms);
      co_return "in time";
    },
    {.timeout = std::chrono::hours(1)});
const auto endless = romancy::workflow(
    "endless",
    [](Context& ctx) -> Task<> {
      const std::string what = "turn";
      for (;;) co_await ctx.run(mark, what);
    },
    {.max_history = 100});

// ---- compensations that fail until a gate is open
const auto undo_gated = romancy::activity(
    "undo_gated",
    [](Attempt& at, std::string gate) {
      world::effect(at, "try to undo");
      if (!world::gate_open(gate)) throw romancy::TerminalError("the bank is closed");
      world::effect(at, "undone");
    });
const auto hard_to_undo = romancy::workflow("hard_to_undo", [](Context& ctx, std::string gate) -> Task<> {
  const std::string first = "first";
  co_await ctx.run(mark, first);
  ctx.compensate_with(undo, first);
  ctx.compensate_with(undo_gated, gate);
  throw std::runtime_error("full");
});

// ---- retry by kind and time
const auto by_kind = romancy::activity(
    "by_kind",
    [](Attempt& at, bool out_of_range) -> int {
      world::effect(at, "try");
      if (out_of_range) throw std::out_of_range("far");
      throw std::runtime_error("near");
    },
    {.retry = {.attempts = 3, .first_interval = 1ms, .non_retryable = {"std::out_of_range"}}});
const auto kinds = romancy::workflow("kinds", [](Context& ctx, bool out_of_range) -> Task<int> {
  const auto outcome = co_await ctx.attempt(by_kind, out_of_range);
  co_return outcome.ok() ? 0 : outcome.error().attempt();
});
const auto briefly = romancy::activity(
    "briefly",
    [](Attempt& at) -> int {
      world::effect(at, "try");
      throw std::runtime_error("busy");
    },
    {.retry = {.attempts = 0, .first_interval = 20ms, .coefficient = 1, .jitter = 0, .max_duration = 100ms}});
const auto gives_up_in_time = romancy::workflow("gives_up_in_time", [](Context& ctx) -> Task<std::string> {
  const auto outcome = co_await ctx.attempt(briefly);
  co_return outcome.ok() ? "?" : outcome.error().message();
});
const auto slow_attempt = romancy::activity(
    "slow_attempt",
    [](Attempt& at, std::string gate) {
      world::effect(at, "try");
      world::wait_for_gate(at, gate);
      return at.number();
    },
    {.retry = {.attempts = 2, .first_interval = 1ms}, .timeout = 50ms});
const auto times_out = romancy::workflow("times_out", [](Context& ctx, std::string gate) -> Task<std::string> {
  const auto outcome = co_await ctx.attempt(slow_attempt, gate);
  co_return outcome.ok() ? std::to_string(outcome.value()) : outcome.error().type() + " at " + std::to_string(outcome.error().attempt());
});


// ---- the time for all attempts, over pauses in the database
const auto no_time = romancy::activity(
    "no_time",
    [](Attempt& at) -> int {
      world::effect(at, "try");
      throw std::runtime_error("busy");
    },
    {.retry = {.attempts = 0, .first_interval = 1h, .max_interval = 1h, .jitter = 0, .max_duration = 30min}});
const auto seconds = romancy::activity(
    "seconds",
    [](Attempt& at) -> int {
      world::effect(at, "try");
      throw std::runtime_error("busy");
    },
    {.retry = {.attempts = 0, .first_interval = 1010ms, .coefficient = 1, .jitter = 0, .max_duration = 1900ms}});
template <class A>
auto attempts_of(std::string name, const A& activity) {
  return romancy::workflow(std::move(name), [activity](Context& ctx) -> Task<int> {
    const auto outcome = co_await ctx.attempt(activity);
    co_return outcome.ok() ? 0 : outcome.error().attempt();
  });
}
const auto no_second_chance = romancy::activity(
    "no_second_chance",
    [](Attempt& at) {
      world::effect(at, "try");
      while (!at.stop_requested()) std::this_thread::yield();
    },
    {.retry = {.attempts = 3, .first_interval = 1ms, .non_retryable = {"AttemptTimedOut"}}, .timeout = 50ms});
// The first attempt does not return before the gate is open; the second one returns at once.
const auto late = romancy::activity(
    "late",
    [](Attempt& at, std::string gate) -> std::string {
      if (at.number() > 1) return "second";
      world::wait_for_gate_stubbornly(gate);
      world::effect(at, "late");
      return "late";
    },
    {.retry = {.attempts = 2, .first_interval = 1ms}, .timeout = 50ms});
const auto does_not_wait = romancy::workflow("does_not_wait", [](Context& ctx, std::string gate) -> Task<std::string> {
  const std::string said = co_await ctx.run(late, gate);
  co_await ctx.receive<Json>("go on");
  co_return said;
});

// ---- limits beside a cancellation and a compensation
const auto undo_patiently = romancy::activity("undo_patiently", [](Attempt& at, std::string gate) {
  world::effect(at, "undoing");
  world::wait_for_gate_stubbornly(gate);
  world::effect(at, "undone");
});
const auto limited_undo = romancy::workflow(
    "limited_undo",
    [](Context& ctx, std::string gate) -> Task<> {
      ctx.compensate_with(undo_patiently, gate);
      co_await ctx.sleep(1ms);
      throw std::runtime_error("full");
    },
    {.timeout = 300ms});
const auto stubborn_step = romancy::activity("stubborn_step", [](Attempt& at, std::string gate) {
  world::effect(at, "begun");
  if (!world::wait_for_gate(at, gate)) world::effect(at, "asked");
  world::wait_for_gate_stubbornly(gate);
  world::effect(at, "done");
});
const auto limited_step = romancy::workflow(
    "limited_step",
    [](Context& ctx, std::string gate) -> Task<> {
      const std::string what = "step";
      co_await ctx.run(mark, what);
      ctx.compensate_with(undo, what);
      co_await ctx.run(stubborn_step, gate);
      const std::string after = "after";
      co_await ctx.run(mark, after);
    },
    {.timeout = 500ms});
const auto endless_saga = romancy::workflow(
    "endless_saga",
    [](Context& ctx) -> Task<> {
      const std::string what = "turn";
      for (;;) {
        co_await ctx.run(mark, what);
        ctx.compensate_with(undo, what);
      }
    },
    {.max_history = 100});

}  // namespace

void add_generations(Program& program) {
  program.activities.insert(program.activities.end(), {undo_gated, by_kind, briefly, slow_attempt, no_time, seconds,
                                                       no_second_chance, late, undo_patiently, stubborn_step});
  program.workflows.insert(program.workflows.end(),
                           {loops, mail_loop, subscribed_loop, recur_with_saga, asks_the_world, limited, in_time, endless,
                            hard_to_undo, kinds, gives_up_in_time, times_out, attempts_of("given_no_time", no_time), attempts_of("given_seconds", seconds),
                            attempts_of("given_no_second_chance", no_second_chance), does_not_wait, limited_undo,
                            limited_step, endless_saga});
}
