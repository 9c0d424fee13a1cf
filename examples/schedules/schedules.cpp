// schedules: a workflow that is started at times (README.md). It does not know: it is a workflow like any other.
#include <romancy/romancy.hpp>
#include <set>
#include <string>

using romancy::Context, romancy::Task;

// Started by a schedule, under an id that says for which tick: "pulse@2026-01-02T02:00:00Z".
const auto beat = romancy::workflow("beat", [](Context& ctx, std::string patient) -> Task<> {
  ctx.publish("beat", ctx.instance_id(), {.to = patient});
  co_return;
});

// Ends when it has been told of so many different ones.
const auto listen = romancy::workflow("listen", [](Context& ctx, std::size_t beats) -> Task<std::size_t> {
  std::set<std::string> heard;
  while (heard.size() < beats) heard.insert(co_await ctx.receive<std::string>("beat"));
  co_return heard.size();
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {beat, listen}, {}); }
