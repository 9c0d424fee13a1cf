#include "workflows.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>

#include "shop.hpp"

namespace orders {

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

// ---- activities: they have effects, each once for its key --------------------------------------------------------

// Long enough to sit out a restart of the shop's database; an answer that is final is a TerminalError.
constexpr romancy::ActivityOptions kPatient{.retry = {.attempts = 20, .first_interval = 100ms, .max_interval = 1s}};

std::vector<shop::Line> lines_of(const Reservation& reservation) {
  std::vector<shop::Line> lines;
  for (const Item& item : reservation.items) lines.push_back({item.sku, item.qty});
  return lines;
}

// What the shop refuses for good must not be tried again.
template <class Work>
auto final_when_declined(const char* type, Work work) {
  try {
    return work();
  } catch (const shop::Declined& e) {
    throw romancy::TerminalError(e.what(), type);
  }
}

const romancy::Activity<Reservation, void> reserve = romancy::activity(
    "reserve_stock",
    [](Attempt& at, Reservation r) {
      final_when_declined("SoldOut", [&] { shop::reserve(at.key(), r.order_id, lines_of(r)); });
    },
    kPatient);
const romancy::Activity<Reservation, void> release = romancy::activity(
    "release_stock", [](Attempt& at, Reservation r) { shop::release(at.key(), r.order_id, lines_of(r)); }, kPatient);
const romancy::Activity<Payment, void> charge = romancy::activity(
    "charge_card",
    [](Attempt& at, Payment p) {
      final_when_declined("CardDeclined", [&] { shop::charge(at.key(), p.order_id, p.card, p.cents); });
    },
    kPatient);
const romancy::Activity<Payment, void> refund = romancy::activity(
    "refund_card", [](Attempt& at, Payment p) { shop::refund(at.key(), p.order_id, p.cents); }, kPatient);
const romancy::Activity<std::string, Shipment> ship = romancy::activity(
    "ship", [](Attempt& at, std::string order_id) { return Shipment{order_id, shop::ship(at.key(), order_id)}; }, kPatient);

// ---- the workflow: it decides, and is replayed ---------------------------------------------------------------------

struct Price {
  std::string_view sku;
  std::int64_t cents;
};
constexpr Price kCatalogue[] = {{"TEA-ASSAM-250", 890},         {"TEA-EARLGREY-100", 640},  {"TEA-SENCHA-100", 1250},
                                {"COFFEE-SIDAMO-500", 1590},    {"COFFEE-HOUSE-1000", 2190}, {"CUP-PORCELAIN-WHITE", 1200},
                                {"CUP-STONEWARE-BLUE", 1450},   {"POT-CAST-IRON-800", 6900}, {"FILTER-PAPER-100", 350},
                                {"KETTLE-GOOSENECK-1L", 8900},  {"SUGAR-ROCK-500", 480},     {"GIFT-BOX-LARGE", 3990}};

bool looks_like_email(const std::string& text) {
  const auto at = text.find('@');
  return at != std::string::npos && at > 0 && text.find(' ') == std::string::npos &&
         text.find('.', at + 2) != std::string::npos && text.back() != '.';
}

// Empty, or why the order cannot be taken.
std::string problem_with(const Order& order) {
  if (order.items.empty()) return "no items";
  for (const Item& item : order.items) {
    if (item.qty < 1) return item.sku + ": a quantity of " + std::to_string(item.qty);
    const auto* known = std::find_if(std::begin(kCatalogue), std::end(kCatalogue),
                                     [&](const Price& price) { return price.sku == item.sku; });
    if (known == std::end(kCatalogue)) return item.sku + ": no such article";
    if (known->cents != item.cents) return item.sku + ": the price is " + std::to_string(known->cents);
  }
  if (!looks_like_email(order.customer.email)) return "customer.email: not an address";
  if (order.address.postcode.empty()) return "address.postcode: missing";
  return {};
}

const romancy::Workflow<Order, Result> fulfil = romancy::workflow("order", [](Context& ctx, Order order) -> Task<Result> {
  if (const std::string problem = problem_with(order); !problem.empty()) co_return Result{"rejected", problem};

  const Reservation reservation{order.id, order.items};
  co_await ctx.run(reserve, reservation);
  ctx.compensate_with(release, reservation);

  const Payment payment{order.id, order.card, order.total_cents()};
  const auto charged = co_await ctx.attempt(charge, payment);
  if (!charged && charged.error().type() == "CardDeclined") throw Declined(charged.error().message());
  charged.value();  // any other failure fails the workflow as it is
  ctx.compensate_with(refund, payment);

  const auto confirmed = co_await ctx.receive_for<Json>("payment.confirmed", 20s);
  if (!confirmed) throw Unpaid("the payment was not confirmed within 20 seconds");

  co_await ctx.sleep(1s);
  const Shipment shipment = co_await ctx.run(ship, order.id);
  ctx.send_event("order.shipped", "shop", shipment);
  co_return Result{"shipped", shipment.tracking};
});

}  // namespace orders
