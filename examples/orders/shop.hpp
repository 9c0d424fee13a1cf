// shop: the world outside the workflow: the warehouse, the bank and the carrier, as tables of the schema `shop`.
//
// This is ordinary application code; it knows nothing of workflows but the idempotency key of an attempt. Every
// operation takes effect once for each key, however often it is called: an engine calls an activity again when it
// cannot know whether the last attempt got through (a process was killed, the database was restarted).
//
// Each thread has a connection of its own, from SHOP_DATABASE (a conninfo; empty: libpq's defaults).
// Failure: Trouble when it may work later, Declined when it will not. Blocking: for activity threads only.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace shop {

struct Trouble : std::runtime_error {  // try again
  using std::runtime_error::runtime_error;
};
struct Declined : std::runtime_error {  // do not
  using std::runtime_error::runtime_error;
};

struct Line {
  std::string sku;
  std::int64_t qty = 0;
};

// Takes the items out of the warehouse. Declined: sold out.
void reserve(const std::string& key, const std::string& order_id, const std::vector<Line>& lines);
// Puts them back.
void release(const std::string& key, const std::string& order_id, const std::vector<Line>& lines);
// Charges the card. The card number says how the bank behaves (README.md).
void charge(const std::string& key, const std::string& order_id, const std::string& card, std::int64_t cents);
void refund(const std::string& key, const std::string& order_id, std::int64_t cents);
// Hands the parcel to the carrier and returns its tracking number, the same for the same key.
std::string ship(const std::string& key, const std::string& order_id);

}  // namespace shop
