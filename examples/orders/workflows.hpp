// workflows: the order workflow, its data and its activities.
//
//   validate -> reserve stock -> charge the card -> wait for payment.confirmed -> sleep 1 s -> ship -> event order.shipped
//      |             |                |                     |
//   rejected     (undone by:      Declined: runs        Unpaid: runs release and refund
//                 release)        release
//
// Rejected and shipped orders complete, with an output; a declined or unpaid one fails, and what was done for it is
// compensated, newest first.
#pragma once
#include <cstdint>
#include <romancy/romancy.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace orders {

// ---- the data ------------------------------------------------------------------------------------------------------
// A field that is missing in the JSON keeps its default, so that validation can say what is wrong with the order.

struct Item {
  std::string sku;
  std::int64_t qty = 0;
  std::int64_t cents = 0;  // of one
};
struct Customer {
  std::string name, email;
};
struct Address {
  std::string street, city, postcode, country;
};
struct Order {
  std::string id, currency, card;
  Customer customer;
  std::vector<Item> items;
  Address address;
  std::int64_t shipping_cents = 0;

  [[nodiscard]] std::int64_t total_cents() const {
    std::int64_t total = shipping_cents;
    for (const Item& item : items) total += item.qty * item.cents;
    return total;
  }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Item, sku, qty, cents)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Customer, name, email)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Address, street, city, postcode, country)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Order, id, currency, card, customer, items, address, shipping_cents)

struct Reservation {
  std::string order_id;
  std::vector<Item> items;
};
struct Payment {
  std::string order_id, card;
  std::int64_t cents = 0;
};
struct Shipment {
  std::string order_id, tracking;
};
struct Result {
  std::string outcome, detail;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Reservation, order_id, items)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Payment, order_id, card, cents)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Shipment, order_id, tracking)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Result, outcome, detail)

struct Declined : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Unpaid : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern const romancy::Activity<Reservation, void> reserve, release;
extern const romancy::Activity<Payment, void> charge, refund;
extern const romancy::Activity<std::string, Shipment> ship;
extern const romancy::Workflow<Order, Result> fulfil;

}  // namespace orders
