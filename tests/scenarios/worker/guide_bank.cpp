// The bank that docs/workflows.md calls.
#include <romancy/json.hpp>
#include <string>

struct Order {
  std::string id, card;
  std::int64_t cents = 0;
};
struct Receipt {
  std::string id;
};

Receipt call_the_bank(const Order& order, const std::string& key) { return {order.id + "/" + key}; }
