// What docs/sdk-guide.md says is the reader's own: the bank.
#include <cstdint>
#include <string>

namespace bank {

std::string charge(const std::string& card, std::int64_t cents, const std::string& key) {
  return card + " paid " + std::to_string(cents) + " as " + key;
}
void refund(const std::string&, const std::string&) {}

}  // namespace bank
