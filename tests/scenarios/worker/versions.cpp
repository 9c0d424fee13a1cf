// Workflows whose code differs with the version of the program, as that of a program which was changed and built again:
// nothing here asks for the version while it runs.
#include <cstdlib>

#include "world.hpp"

namespace {

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

const auto stamp = romancy::activity("stamp", [](Attempt& at, std::string what) { world::effect(at, what); });

// A run of one code could not go on with a history of the other: only the new one sleeps.
auto versioned(const std::string& code) {
  return romancy::workflow("versioned", [code](Context& ctx) -> Task<std::string> {
    const std::string begins = code + " begins", ends = code + " ends";
    co_await ctx.run(stamp, begins);
    if (code == "v2") co_await ctx.sleep(1ms);
    co_await ctx.receive<Json>("go");
    co_await ctx.run(stamp, ends);
    co_return code;
  });
}

auto versioned_loop(const std::string& code) {
  return romancy::workflow("versioned_loop", [code](Context& ctx) -> Task<std::string> {
    const std::string round = code + " round";
    co_await ctx.run(stamp, round);
    const auto again = co_await ctx.receive<bool>("again");
    if (again) ctx.recur();
    co_return code;
  });
}

template <class Child>
auto versioned_parent(const std::string& code, const Child& child) {
  return romancy::workflow("versioned_parent", [code, child](Context& ctx, std::string id) -> Task<std::string> {
    const auto kid = ctx.start_child(child, {.id = id});
    co_return code + " of " + co_await kid.result();
  });
}

// Held by its activity for as long as the test wants.
const auto hold = romancy::activity("hold_version", [](Attempt& at, std::string gate) {
  world::effect(at, "held");
  world::wait_for_gate(at, gate);
});
auto versioned_hold(const std::string& code) {
  return romancy::workflow("versioned_hold", [code](Context& ctx, std::string gate) -> Task<std::string> {
    const std::string begins = code + " begins";
    co_await ctx.run(stamp, begins);
    co_await ctx.run(hold, gate);
    co_await ctx.receive<Json>("go");
    co_return code;
  });
}

}  // namespace

void add_versions(Program& program) {
  const char* version = std::getenv("ROMANCY_WORKER_VERSION");
  const std::string code = version == nullptr ? "none" : version;
  const auto child = versioned(code);
  program.activities.insert(program.activities.end(), {stamp, hold});
  program.workflows.insert(program.workflows.end(), {child, versioned_loop(code), versioned_parent(code, child), versioned_hold(code)});
}
