// Cancel: seen where the workflow waits.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;
using romancy::WorkflowCancelled;

namespace {

// Hears that it is asked to stop, and does not care: it finishes when its gate opens.
const auto deaf = romancy::activity("deaf", [](Attempt& at, std::string gate) {
  world::effect(at, "deaf");
  if (!world::wait_for_gate(at, gate)) world::effect(at, "asked");
  world::wait_for_gate_stubbornly(gate);
  world::effect(at, "finished");
  return gate;
});
const auto retries_slowly = romancy::activity(
    "retries_slowly",
    [](Attempt& at) -> int {
      world::effect(at, "tried");
      throw std::runtime_error("later");
    },
    {.retry = {.attempts = 5, .first_interval = 3'600'000ms, .max_interval = 3'600'000ms}});

const auto waits = romancy::workflow("waits", [](Context& ctx) -> Task<Json> { co_return co_await ctx.receive<Json>("mail"); });

const auto waits_an_hour = romancy::workflow("waits_an_hour", [](Context& ctx) -> Task<Json> {
  co_return co_await ctx.receive<Json>("mail", {.within = 1h});
});

const auto calls_deaf = romancy::workflow("calls_deaf", [](Context& ctx, std::string gate) -> Task<> {
  co_await ctx.run(deaf, gate);
  const std::string after = "after";
  co_await ctx.run(mark, after);
});

// Only the activity, nothing after it where a cancellation could be seen.
const auto ends_deaf = romancy::workflow("ends_deaf", [](Context& ctx, std::string gate) -> Task<std::string> {
  co_return co_await ctx.run(deaf, gate);
});

const auto pauses = romancy::workflow("pauses", [](Context& ctx) -> Task<int> { co_return co_await ctx.run(retries_slowly); });

const auto says_why = romancy::workflow("says_why", [](Context& ctx) -> Task<std::string> {
  std::string said = "not cancelled";
  try {
    co_await ctx.sleep(1h);
  } catch (const WorkflowCancelled& e) {
    said = e.reason() + (ctx.cancelled() ? " (cancelled)" : " (?)");
  }
  co_return said;
});

// Swallows the exception and goes on: the next wait throws again.
const auto sticky = romancy::workflow("sticky", [](Context& ctx) -> Task<int> {
  int seen = 0;
  const std::string what = "never";
  for (int i = 0; i < 3; ++i) {
    try {
      if (i == 0) co_await ctx.sleep(1h);
      if (i == 1) co_await ctx.run(mark, what);
      if (i == 2) co_await ctx.receive<Json>("mail");
    } catch (const WorkflowCancelled&) {
      ++seen;
    }
  }
  co_return seen;
});

const auto only_std = romancy::workflow("only_std", [](Context& ctx) -> Task<std::string> {
  try {
    co_await ctx.sleep(1h);
  } catch (const std::exception&) {
    co_return "swallowed";
  }
  co_return "slept";
});

Task<> tidy_up(Context& ctx, std::string what) {
  co_await ctx.run(mark, what);
  co_await ctx.sleep(1ms);
  const std::string more = what + " more";
  co_await ctx.run(mark, more);
}

const auto tidies = romancy::workflow("tidies", [](Context& ctx) -> Task<> {
  bool cancelled = false;
  const std::string what = "tidy";
  try {
    co_await ctx.receive<Json>("mail");
  } catch (const WorkflowCancelled&) {
    cancelled = true;
  }
  if (cancelled) co_await ctx.shield(tidy_up, what);
  co_await ctx.sleep(1ms);  // where it ends
});

// A part that must not be interrupted.
Task<Json> pay(Context& ctx, std::string what) {
  co_await ctx.run(mark, what);
  const Json confirmed = co_await ctx.receive<Json>("confirmed");
  co_return confirmed;
}
const auto shielded = romancy::workflow("shielded", [](Context& ctx) -> Task<> {
  const std::string what = "pay", never = "never";
  const Json confirmed = co_await ctx.shield(pay, what);
  const std::string got = "confirmed";
  ctx.publish("result", confirmed, {.to = ctx.instance_id()});
  co_await ctx.run(mark, never);
});

const auto shielded_and_done = romancy::workflow("shielded_and_done", [](Context& ctx) -> Task<Json> {
  const std::string what = "pay";
  co_return co_await ctx.shield(pay, what);
});

const auto throws_another = romancy::workflow("throws_another", [](Context& ctx) -> Task<> {
  try {
    co_await ctx.sleep(1h);
  } catch (const WorkflowCancelled&) {
    throw std::runtime_error("in the clean-up");
  }
});

// Wakes up often; whenever the cancellation comes, it ends.
const auto restless = romancy::workflow("restless", [](Context& ctx, int turns) -> Task<int> {
  for (int i = 0; i < turns; ++i) {
    const std::string what = "turn";
    co_await ctx.run(mark, what);
    ctx.compensate_with(undo, what);
    co_await ctx.sleep(2ms);
  }
  co_return turns;
});

}  // namespace

void add_cancel(Program& program) {
  program.activities.insert(program.activities.end(), {deaf, retries_slowly});
  program.workflows.insert(program.workflows.end(),
                           {waits, waits_an_hour, calls_deaf, ends_deaf, pauses, says_why, sticky, only_std, tidies, shielded,
                            shielded_and_done, throws_another, restless});
}
