// Saga: steps that are undone, newest first, when the workflow fails or is cancelled.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

struct Booking {
  std::string hotel;
  std::int64_t cents = 0;
  std::vector<std::string> guests;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Booking, hotel, cents, guests)

struct NoSeats : std::runtime_error {
  using std::runtime_error::runtime_error;
};

const auto cancel_booking = romancy::activity("cancel_booking", [](Attempt& at, Booking booking) {
  world::effect(at, "cancel " + booking.hotel + " " + std::to_string(booking.cents) + " " + booking.guests.at(0));
});
const auto undo_flaky = romancy::activity(
    "undo_flaky",
    [](Attempt& at, Flaky job) {
      world::effect(at, "undo " + job.what);
      if (at.number() <= job.failures) throw std::runtime_error("not yet");
    },
    {.retry = {.attempts = 5, .first_interval = 2ms}});
const auto undo_later = romancy::activity(
    "undo_later",
    [](Attempt& at) {
      world::effect(at, "undo later");
      if (at.number() == 1) throw std::runtime_error("come back");
    },
    {.retry = {.attempts = 2, .first_interval = 1010ms, .coefficient = 1, .jitter = 0}});
const auto undo_all = romancy::activity("undo_all", [](Attempt& at) { world::effect(at, "undo all"); });
const auto undo_held = romancy::activity("undo_held", [](Attempt& at, std::string gate) {
  world::effect(at, "undoing");
  world::wait_for_gate_stubbornly(gate);
});

// Books so many steps, then: "throw", "wait" (for a message), or nothing.
struct Plan {
  int steps = 0;
  std::string then;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Plan, steps, then)

const auto trip = romancy::workflow("trip", [](Context& ctx, Plan plan) -> Task<std::string> {
  for (int i = 1; i <= plan.steps; ++i) {
    const std::string what = "step " + std::to_string(i);
    co_await ctx.run(mark, what);
    ctx.compensate_with(undo, what);
  }
  if (plan.then == "throw") throw NoSeats("no seats left");
  if (plan.then == "wait") co_await ctx.receive<Json>("go on");
  co_return "done";
});

const auto undoes_a_struct = romancy::workflow("undoes_a_struct", [](Context& ctx, Booking booking) -> Task<> {
  ctx.compensate_with(cancel_booking, booking);
  co_await ctx.sleep(1ms);
  throw NoSeats("full");
});

const auto undoes_stubbornly = romancy::workflow("undoes_stubbornly", [](Context& ctx, int failures) -> Task<> {
  const Flaky job{"it", failures};
  ctx.compensate_with(undo_flaky, job);
  throw NoSeats("full");
  co_return;
});

const auto undoes_later = romancy::workflow("undoes_later", [](Context& ctx) -> Task<> {
  const std::string first = "first";
  ctx.compensate_with(undo, first);
  ctx.compensate_with(undo_later);
  throw NoSeats("full");
  co_return;
});

const auto undoes_all = romancy::workflow("undoes_all", [](Context& ctx) -> Task<> {
  ctx.compensate_with(undo_all);
  throw NoSeats("full");
  co_return;
});

const auto undoes_slowly = romancy::workflow("undoes_slowly", [](Context& ctx, std::string gate) -> Task<> {
  ctx.compensate_with(undo_held, gate);
  co_await ctx.receive<Json>("go on");
  throw NoSeats("full");
});

// Registers before the step: the step may have happened even if its result was never known.
const auto registers_first = romancy::workflow("registers_first", [](Context& ctx) -> Task<int> {
  const std::string what = "step";
  ctx.compensate_with(undo, what);
  const Flaky job{"step", 99};
  co_return co_await ctx.run(flaky, job);
});

const auto caught_and_fine = romancy::workflow("caught_and_fine", [](Context& ctx) -> Task<std::string> {
  const std::string what = "step";
  co_await ctx.run(mark, what);
  ctx.compensate_with(undo, what);
  const Flaky job{"optional", 99};
  const auto optional = co_await ctx.attempt(flaky, job);
  co_return optional ? "?" : "fine without";
});


// In a part of its own, by exception through two coroutines.
Task<> inner(Context& ctx, std::string what) {
  co_await ctx.run(mark, what);
  ctx.compensate_with(undo, what);
  co_await ctx.sleep(1ms);
  throw NoSeats("inner");
}
const auto nested = romancy::workflow("nested", [](Context& ctx) -> Task<> {
  const std::string outer = "outer", in = "inner";
  co_await ctx.run(mark, outer);
  ctx.compensate_with(undo, outer);
  co_await inner(ctx, in);
});

}  // namespace

void add_saga(Program& program) {
  program.activities.insert(program.activities.end(), {cancel_booking, undo_flaky, undo_later, undo_all, undo_held});
  program.workflows.insert(program.workflows.end(), {trip, undoes_a_struct, undoes_stubbornly, undoes_later, undoes_all,
                                                     undoes_slowly, registers_first, caught_and_fine, nested});
}
