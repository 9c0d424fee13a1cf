// versions, as it was deployed first: a subscription that is charged every month (README.md).
#include <romancy/romancy.hpp>
#include <string>

using romancy::Attempt, romancy::Context, romancy::Task;

struct Bill {
  std::string customer;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Bill, customer, cents)

const auto charge = romancy::activity("charge", [](Attempt&, Bill b) { return std::to_string(b.cents) + " cents"; });

const auto subscription = romancy::workflow("subscription", [](Context& ctx, std::string customer) -> Task<std::string> {
  std::string paid;
  for (int month = 1; month <= 2; ++month) {
    const Bill bill{customer, 900};
    paid += co_await ctx.run(charge, bill) + "; ";
    co_await ctx.receive("month.over");
  }
  co_return paid + "thank you, " + customer;
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {subscription}, {charge}); }
