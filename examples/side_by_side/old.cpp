// side_by_side, the version that runs: an order is charged, and shipped when it is packed (README.md).
#include <romancy/romancy.hpp>
#include <string>

using romancy::Attempt, romancy::Context, romancy::Task;

const auto charge = romancy::activity("charge", [](Attempt&, std::string customer) { return "charged " + customer; });

const auto order = romancy::workflow("order", [](Context& ctx, std::string customer) -> Task<std::string> {
  const std::string charged = co_await ctx.run(charge, customer);
  co_await ctx.receive("packed");
  co_return charged + ", then shipped";
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {order}, {charge}); }
