// Queued activities: some are served by this worker, others by the test, on a queue that the input names.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::QueuedActivity;
using romancy::Task;

namespace {

const auto enlarge = romancy::activity("enlarge", [](Attempt& at, std::string what) {
  world::effect(at, "enlarge " + what);
  if (what == "odd" && at.number() < 3) throw std::runtime_error("not yet");
  return "big " + what;
}, {.retry = {.first_interval = 10ms}, .queue = "scenario-gpu"});

const auto enlarger = romancy::workflow("enlarger", [](Context& ctx, std::string what) -> Task<std::string> {
  co_return co_await ctx.run(enlarge, what);
});

// Tells how far it has come, then waits for its gate; the next attempt begins there.
const auto carve = romancy::activity("carve", [](Attempt& at, std::string gate) {
  const int done = at.details<int>().value_or(0);
  world::effect(at, "carve " + std::to_string(done) + " in attempt " + std::to_string(at.number()));
  for (int step = 1; step <= 50; ++step) at.heartbeat(done + step);
  if (!world::wait_for_gate(at, gate)) throw std::runtime_error("stopped");
  return done + 50;
}, {.retry = {.first_interval = 10ms}, .queue = "scenario-stone", .heartbeat_timeout = 2s});

const auto carver = romancy::workflow("carver", [](Context& ctx, std::string gate) -> Task<int> { co_return co_await ctx.run(carve, gate); });

// Fails at once after it has told.
const auto stumble = romancy::activity("stumble", [](Attempt& at) {
  if (const auto told = at.details<std::vector<int>>()) return *told;
  for (int step = 1; step <= 3000; ++step) at.heartbeat(std::vector<int>{step});  // the last while another is under way
  throw std::runtime_error("stumbled");
}, {.retry = {.first_interval = 10ms}, .queue = "scenario-stone"});
const auto stumbler = romancy::workflow("stumbler", [](Context& ctx) -> Task<std::vector<int>> { co_return co_await ctx.run(stumble); });

// An ordinary activity has nobody to tell.
const auto chatter = romancy::activity("chatter", [](Attempt& at) { at.heartbeat(1); }, {.retry = {.attempts = 1}});
const auto chatters = romancy::workflow("chatters", [](Context& ctx) -> Task<> { co_await ctx.run(chatter); });

QueuedActivity<std::string, std::string> far(const std::string& queue) {
  return {"far", {.retry = {.attempts = 3, .first_interval = 10ms}, .queue = queue, .heartbeat_timeout = 60s}};
}

const auto asks_far = romancy::workflow("asks_far", [](Context& ctx, std::string queue) -> Task<std::string> {
  const auto activity = far(queue);
  const std::string what = "a";
  const auto done = co_await ctx.attempt(activity, what);
  if (!done) co_return done.error().type() + " " + std::to_string(done.error().attempt());
  co_return done.value();
});

// The queue, and what is to be done.
const auto asks_far_for = romancy::workflow("asks_far_for", [](Context& ctx, std::vector<std::string> words) -> Task<std::string> {
  const auto activity = far(words.at(0));
  co_return co_await ctx.run(activity, words.at(1));
});

// Waits on one queue, then on another.
const auto counted = romancy::workflow("counted", [](Context& ctx, std::vector<std::string> queues) -> Task<> {
  for (const std::string& queue : queues) {
    const auto activity = far(queue);
    co_await ctx.run(activity, queue);
  }
});

const auto races_far = romancy::workflow("races_far", [](Context& ctx, std::string queue) -> Task<std::string> {
  const auto activity = far(queue);
  const std::string what = "a";
  const auto first = co_await ctx.when_any(ctx.run(activity, what), ctx.receive<std::string>("stop"));
  if (first.index() == 0) co_return "far";
  co_return co_await ctx.receive<std::string>("stop");
});

const auto undoes_far = romancy::workflow("undoes_far", [](Context& ctx, std::string queue) -> Task<> {
  const auto activity = far(queue);
  const std::string what = "undo";
  ctx.compensate_with(activity, what);
  co_await ctx.receive<std::string>("never");
});

}  // namespace

void add_queued(Program& program) {
  program.workflows.insert(program.workflows.end(), {enlarger, asks_far, counted, asks_far_for, races_far, undoes_far, carver, stumbler, chatters});
  program.activities.insert(program.activities.end(), {enlarge, carve, stumble, chatter});
}
