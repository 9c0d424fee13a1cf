// side_by_side, the version that follows: the whole order of things is another, so its runs cannot go on with the histories of
// the old one, and `ctx.patched` would be an if around everything (README.md).
#include <romancy/romancy.hpp>
#include <string>

using romancy::Attempt, romancy::Context, romancy::Task;

const auto reserve = romancy::activity("reserve", [](Attempt&, std::string customer) { return "reserved for " + customer; });
const auto charge = romancy::activity("charge", [](Attempt&, std::string customer) { return "charged " + customer; });

const auto order = romancy::workflow("order", [](Context& ctx, std::string customer) -> Task<std::string> {
  const std::string reserved = co_await ctx.run(reserve, customer);
  co_await ctx.receive("packed");
  co_return reserved + ", then " + co_await ctx.run(charge, customer) + ", then shipped";
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {order}, {reserve, charge}); }
