// timers: waiting for something, but not for ever; and for whichever is first (README.md). All times are the database's:
// a timer survives every restart, and costs a row.
#include <chrono>
#include <romancy/romancy.hpp>
#include <string>

using namespace std::chrono_literals;
using romancy::Async, romancy::AsyncAttempt, romancy::Attempt, romancy::Context, romancy::Task;

// ---- reminders: a message, or a timer ------------------------------------------------------------------------------

struct Invitation {
  std::string guest;
  std::int64_t patience_ms = 0;  // days, in your program; here it must not take so long
  int reminders = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Invitation, guest, patience_ms, reminders)

const auto send_mail = romancy::activity("send_mail", [](Attempt&, std::string text) { return "sent: " + text; });

const auto invitation = romancy::workflow("invitation", [](Context& ctx, Invitation to) -> Task<std::string> {
  co_await ctx.run(send_mail, "please come, " + to.guest);
  for (int sent = 0;; ++sent) {
    const auto answer = co_await ctx.receive_for<std::string>("answer", std::chrono::milliseconds(to.patience_ms));
    if (answer) co_return to.guest + " says " + *answer;
    if (sent == to.reminders) co_return to.guest + " never answered";
    co_await ctx.run(send_mail, "will you come, " + to.guest + "?");
  }
});

// ---- a race: the winner's result, and the losers are asked to stop ---------------------------------------------------

// An asynchronous activity waits without a thread. When its result is not wanted any more, the pause throws.
const auto ask_price = romancy::async_activity("ask_price", [](AsyncAttempt& at, std::string shop) -> Async<int> {
  if (shop == "the slow shop") co_await at.sleep(1h);
  co_return 950;  // cents
});

const auto price = romancy::workflow("price", [](Context& ctx) -> Task<std::string> {
  const auto first = co_await ctx.when_any(ctx.run(ask_price, "the slow shop"),  //
                                           ctx.run(ask_price, "the quick shop"),  //
                                           ctx.sleep(30min));
  if (first.index() == 2) co_return "nobody knows";
  const int cents = first.index() == 0 ? first.get<0>() : first.get<1>();
  co_return (first.index() == 0 ? "slow: " : "quick: ") + std::to_string(cents) + " cents";
});

int main(int argc, char** argv) { return romancy::run_worker(argc, argv, {invitation, price}, {send_mail, ask_price}); }
