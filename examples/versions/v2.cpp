// versions, as it is deployed next, while instances of the first version run: customers get a discount, which another
// activity looks up (README.md). `diff v1.cpp v2.cpp` shows the change.
#include <romancy/romancy.hpp>
#include <string>

using romancy::Attempt, romancy::Context, romancy::Task;

struct Bill {
  std::string customer;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Bill, customer, cents)

const auto charge = romancy::activity("charge", [](Attempt&, Bill b) { return std::to_string(b.cents) + " cents"; });
const auto discount = romancy::activity("discount", [](Attempt&, std::string) { return std::int64_t{90}; });

const auto subscription = romancy::workflow("subscription", [](Context& ctx, std::string customer) -> Task<std::string> {
  std::string paid;
  for (int month = 1; month <= 2; ++month) {
    Bill bill{customer, 900};
    // A run that was past here when this was deployed must go on as it began: history has no discount. The first answer
    // counts for the whole run, in the second month as well.
    if (ctx.patched("discount")) bill.cents -= co_await ctx.run(discount, customer);
    paid += co_await ctx.run(charge, bill) + "; ";
    co_await ctx.receive("month.over");
  }
  co_return paid + "thank you, " + customer;
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {subscription}, {charge, discount}); }
