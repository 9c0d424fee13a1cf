// Reading: workflows that say how far they are.
#include "steps.hpp"

using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

const auto reporter = romancy::workflow("reporter", [](Context& ctx, std::string gate) -> Task<> {
  ctx.set_status(Json{{"done", 0}, {"of", 2}});
  co_await ctx.run(hold, gate);
  ctx.set_status(Json{{"done", 1}, {"of", 2}});
  co_await ctx.receive<Json>("go on");
  ctx.set_status("finished");
});

const auto rounds = romancy::workflow("rounds", [](Context& ctx, int n) -> Task<> {
  if (n % 2 == 0) ctx.set_status(Json{{"round", n}});
  co_await ctx.receive<Json>("go on");
  if (n < 3) ctx.recur(n + 1);
});

}  // namespace

void add_reading(Program& program) {
  program.workflows.insert(program.workflows.end(), {reporter, rounds});
}
