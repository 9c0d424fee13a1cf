// Examples: small applications, as users of comparable engines write them.
#include <map>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

// ---- greeting: two activities in a row
struct Greeting {
  std::string name, language;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Greeting, name, language)
const auto translate = romancy::activity("translate", [](Attempt&, std::string language) {
  static const std::map<std::string, std::string> hello{{"en", "Hello"}, {"ja", "こんにちは"}, {"es", "Hola"}};
  const auto found = hello.find(language);
  if (found == hello.end()) throw romancy::TerminalError("no language " + language, "UnknownLanguage");
  return found->second;
});
const auto greeting = romancy::workflow("greeting", [](Context& ctx, Greeting to) -> Task<std::string> {
  const std::string word = co_await ctx.run(translate, to.language);
  const std::string text = word + ", " + to.name + "!";
  co_return co_await ctx.run(mark, text);
});

// ---- shop: reserve, wait for the payment, ship; cancelled by itself when nobody pays
struct ShopOrder {
  std::string sku;
  int quantity = 1;
  int pay_within_ms = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ShopOrder, sku, quantity, pay_within_ms)
struct Payment {
  std::string transaction;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Payment, transaction, cents)
const auto shop = romancy::workflow("shop", [](Context& ctx, ShopOrder order) -> Task<std::string> {
  const std::string reserved = "reserve " + std::to_string(order.quantity) + " " + order.sku;
  co_await ctx.run(mark, reserved);
  ctx.compensate_with(undo, reserved);
  const Payment paid = co_await ctx.receive<Payment>("payment.completed", {.within = std::chrono::milliseconds(order.pay_within_ms)});
  const std::string ship = "ship for " + paid.transaction;
  co_await ctx.run(mark, ship);
  ctx.send_event("order.shipped", "shop", paid);
  co_return paid.transaction + " " + std::to_string(paid.cents);
});

// ---- expense: validated, small ones approved at once, others by a person
struct Expense {
  std::string who;
  std::int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Expense, who, cents)
struct Decision {
  bool approved = false;
  std::string by;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Decision, approved, by)
const auto validate = romancy::activity("validate", [](Attempt& at, Expense expense) {
  world::effect(at, "validate");
  if (expense.cents <= 0) throw romancy::TerminalError("an expense of nothing", "Invalid");
  return expense.cents > 10'000;
});
const auto expense = romancy::workflow("expense", [](Context& ctx, Expense asked) -> Task<std::string> {
  const bool needs_a_person = co_await ctx.run(validate, asked);
  std::string verdict = "approved automatically";
  if (needs_a_person) {
    const std::string notify = "notify the boss of " + asked.who;
    co_await ctx.run(mark, notify);
    const auto decision = co_await ctx.receive<Decision>("approval.response", {.within = 24h});
    verdict = (decision.approved ? "approved by " : "rejected by ") + decision.by;
  }
  co_await ctx.run(mark, verdict);
  co_return verdict;
});

// ---- trip: car, hotel, flight, payment
struct Trip {
  std::string traveller;
  bool can_pay = true;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Trip, traveller, can_pay)
const auto pay = romancy::activity("pay", [](Attempt& at, Trip trip) {
  world::effect(at, "pay");
  if (!trip.can_pay) throw romancy::TerminalError("no money", "CardDeclined");
});
const auto travel = romancy::workflow("travel", [](Context& ctx, Trip trip) -> Task<std::string> {
  for (const char* part : {"car", "hotel", "flight"}) {
    const std::string what = part;
    co_await ctx.run(mark, what);
    ctx.compensate_with(undo, what);
  }
  co_await ctx.run(pay, trip);
  co_return "bon voyage, " + trip.traveller;
});

// ---- loan: branches by what activities say
enum class Rating { good, fair, poor };
NLOHMANN_JSON_SERIALIZE_ENUM(Rating, {{Rating::good, "good"}, {Rating::fair, "fair"}, {Rating::poor, "poor"}})
const auto rate = romancy::activity("rate", [](Attempt&, int score) {
  return score > 700 ? Rating::good : score > 600 ? Rating::fair : Rating::poor;
});
const auto loan = romancy::workflow("loan", [](Context& ctx, int score) -> Task<std::string> {
  switch (co_await ctx.run(rate, score)) {
    case Rating::good: co_return "approved";
    case Rating::fair: {
      const bool guaranteed = (co_await ctx.receive<Json>("guarantor")).get<bool>();
      co_return guaranteed ? "approved with a guarantor" : "refused without a guarantor";
    }
    case Rating::poor: break;
  }
  co_return "refused";
});

// ---- worker pool by hand: one workflow hands jobs to others and collects what they answer
struct Hands {
  std::vector<std::string> workers;
  int jobs = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Hands, workers, jobs)
struct Job {
  int n = 0;
  std::string reply_to;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Job, n, reply_to)
const auto foreman = romancy::workflow("foreman", [](Context& ctx, Hands hands) -> Task<int> {
  for (int i = 0; i < hands.jobs; ++i) {
    const Job job{i, ctx.instance_id()};
    ctx.publish("job", job, {.to = hands.workers[static_cast<std::size_t>(i) % hands.workers.size()]});
  }
  int sum = 0;
  for (int i = 0; i < hands.jobs; ++i) sum += co_await ctx.receive<int>("done");
  for (const auto& worker : hands.workers) ctx.publish("job", Job{-1, ""}, {.to = worker});
  co_return sum;
});
const auto hand = romancy::workflow("hand", [](Context& ctx) -> Task<int> {
  int done = 0;
  for (;;) {
    const Job job = co_await ctx.receive<Job>("job");
    if (job.n < 0) co_return done;
    const std::string what = "job " + std::to_string(job.n);
    co_await ctx.run(mark, what);
    ctx.publish("done", job.n * job.n, {.to = job.reply_to});
    ++done;
  }
});

// ---- long loop with a checkpoint an item
const auto batch = romancy::workflow("batch", [](Context& ctx, int items) -> Task<Json> {
  Json failed = Json::array();
  for (int i = 0; i < items; ++i) {
    const Flaky job{"item", i % 3 == 2 ? 99 : i % 3};
    const auto outcome = co_await ctx.attempt(flaky, job);
    if (!outcome) failed.push_back(i);
  }
  co_return failed;
});

}  // namespace

void add_examples(Program& program) {
  program.activities.insert(program.activities.end(), {translate, validate, pay, rate});
  program.workflows.insert(program.workflows.end(), {greeting, shop, expense, travel, loan, foreman, hand, batch});
}
