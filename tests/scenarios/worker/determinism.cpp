// Determinism: one workflow whose code is another in the next worker. SCENARIO_CODE says which; unset is the first one.
#include <cstdlib>
#include <string_view>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

bool code_is(std::string_view wanted) {
  const char* code = std::getenv("SCENARIO_CODE");
  return wanted == (code == nullptr ? "" : code);
}

const auto changing = romancy::workflow("changing", [](Context& ctx, std::string then) -> Task<std::string> {
  const std::string first = "first", second = "second", later = "later";
  if (code_is("patched") && ctx.patched("early")) co_await ctx.run(mark, second);
  if (code_is("other activity")) {
    co_await ctx.run(undo, first);
  } else if (code_is("sleeps instead")) {
    co_await ctx.sleep(1ms);
  } else if (code_is("swapped")) {
    co_await ctx.sleep(1ms);
    co_await ctx.run(mark, first);
  } else if (code_is("one more before")) {
    co_await ctx.run(mark, second);
    co_await ctx.run(mark, first);
  } else if (code_is("ends early")) {
    co_return "early";
  } else if (code_is("throws early")) {
    throw std::runtime_error("early");
  } else {
    co_await ctx.run(mark, first);
  }
  if (!code_is("swapped")) co_await ctx.sleep(1ms);
  const std::string channel = code_is("other channel") ? "elsewhere" : "go on";
  const bool patient = code_is("patient");
  if (code_is("publishes")) ctx.publish("news", 1);
  if (patient) {
    co_await ctx.receive<Json>(channel, {.within = 1h});
  } else {
    co_await ctx.receive<Json>(channel);
  }
  if (then == "again") co_await ctx.receive<Json>("again");
  if (code_is("patched") && ctx.patched("late")) ctx.publish("news", 1);
  if (code_is("more after") || code_is("patched")) co_await ctx.run(mark, later);
  co_return "done";
});

}  // namespace

void add_determinism(Program& program) { program.workflows.push_back(changing); }
