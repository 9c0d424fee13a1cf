// Outbox: events that leave with the workflow's own commits.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

const auto announces = romancy::workflow("announces", [](Context& ctx, int count) -> Task<> {
  for (int i = 0; i < count; ++i) {
    const Json data{{"from", ctx.instance_id()}, {"n", i}, {"big", 9007199254740993}};
    ctx.send_event("order.step", "scenario", data);
    co_await ctx.sleep(1ms);
  }
});

const auto announces_then_fails = romancy::workflow("announces_then_fails", [](Context& ctx) -> Task<> {
  const Json data{{"from", ctx.instance_id()}};
  ctx.send_event("order.started", "scenario", data);
  co_await ctx.sleep(1ms);
  throw std::runtime_error("after the event");
});

const auto announces_text = romancy::workflow("announces_text", [](Context& ctx) -> Task<> {
  ctx.send_event("note", "scenario/" + ctx.instance_id(), std::string("käse"), {.content_type = "application/vnd.note+json"});
  co_return;
});

const auto bad_event = romancy::workflow("bad_event", [](Context& ctx) -> Task<> {
  ctx.send_event("note", "scenario", std::string("caf\xe9"));
  co_return;
});

}  // namespace

void add_outbox(Program& program) {
  program.workflows.insert(program.workflows.end(), {announces, announces_then_fails, announces_text, bad_event});
}
