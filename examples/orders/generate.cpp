// orders_generate: writes the orders of the example, one JSON object a line.
//
//   orders_generate [COUNT [SEED]] > orders.jsonl
//
// The same count and seed give the same bytes on every machine: the generator is SplitMix64 and every choice is a
// remainder, because the distributions of <random> differ between libraries. A test compares the committed
// orders.jsonl with what this program writes.
//
// What becomes of an order is decided by its own data, never by chance at run time (README.md has the table):
// the card number says what the bank does, and some orders are invalid in one of several ways.
#include <array>
#include <charconv>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace {

using Json = nlohmann::ordered_json;

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {  // SplitMix64 (Steele, Lea, Flood 2014)
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
  template <class Items>
  const auto& one_of(const Items& items) {
    return items[below(items.size())];
  }

 private:
  std::uint64_t state_;
};

struct Product {
  std::string_view sku;
  std::int64_t cents;
};
// The same catalogue stands in shop.sql; a sku that is not in it is unknown to the shop.
constexpr std::array<Product, 12> kCatalogue{{{"TEA-ASSAM-250", 890},
                                              {"TEA-EARLGREY-100", 640},
                                              {"TEA-SENCHA-100", 1250},
                                              {"COFFEE-SIDAMO-500", 1590},
                                              {"COFFEE-HOUSE-1000", 2190},
                                              {"CUP-PORCELAIN-WHITE", 1200},
                                              {"CUP-STONEWARE-BLUE", 1450},
                                              {"POT-CAST-IRON-800", 6900},
                                              {"FILTER-PAPER-100", 350},
                                              {"KETTLE-GOOSENECK-1L", 8900},
                                              {"SUGAR-ROCK-500", 480},
                                              {"GIFT-BOX-LARGE", 3990}}};
constexpr std::array<std::string_view, 14> kFirst{"Ada",   "Grace", "Edsger", "Barbara", "Tony",  "Margaret", "Donald",
                                                  "Frances", "Niklaus", "Radia", "Leslie", "Karen", "Alan", "Zoë"};
constexpr std::array<std::string_view, 14> kLast{"Okafor", "Lindqvist", "Moreau", "Schröder", "García", "Novak", "Rossi",
                                                 "Tanaka", "O'Neill",  "Haddad", "Kowalski", "Silva", "Jensen", "Meyer"};
constexpr std::array<std::string_view, 8> kStreet{"Harbour Road", "Lindenallee", "Rue des Lilas", "Via Garibaldi",
                                                  "Calle Mayor",  "Storgatan",   "Mill Lane",     "Am Alten Markt"};
struct Place {
  std::string_view city, postcode, country, currency;
};
constexpr std::array<Place, 8> kPlaces{{{"Lyon", "69003", "FR", "EUR"},
                                        {"Leipzig", "04109", "DE", "EUR"},
                                        {"Bologna", "40121", "IT", "EUR"},
                                        {"Sevilla", "41001", "ES", "EUR"},
                                        {"Göteborg", "411 03", "SE", "SEK"},
                                        {"Bristol", "BS1 4DJ", "GB", "GBP"},
                                        {"Zürich", "8001", "CH", "CHF"},
                                        {"Gdańsk", "80-001", "PL", "PLN"}}};

// Test numbers in the style of payment providers.
constexpr std::array<std::string_view, 3> kCardGood{"4242424242424242", "5555555555554444", "378282246310005"};
constexpr std::string_view kCardBusy = "4000000000000119";        // the bank answers "try again" twice, then charges
constexpr std::string_view kCardDeclined = "4000000000000002";    // declined, for good
constexpr std::string_view kCardUnconfirmed = "4000002500003155"; // charged, but the customer never confirms

std::string padded(std::uint64_t number, std::size_t width) {
  std::string digits = std::to_string(number);
  return digits.size() < width ? std::string(width - digits.size(), '0') + digits : digits;
}

std::string ascii_only(std::string_view name) {  // for an email address: letters, the rest left out
  std::string out;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') out += static_cast<char>(c - 'A' + 'a');
    if (c >= 'a' && c <= 'z') out += c;
  }
  return out;
}

Json make_items(Random& random) {
  Json items = Json::array();
  const std::uint64_t lines = random.between(1, 4);
  std::uint64_t product = random.below(kCatalogue.size());
  for (std::uint64_t line = 0; line < lines; ++line) {
    const Product& p = kCatalogue[product];
    items.push_back({{"sku", p.sku}, {"qty", random.between(1, 3)}, {"cents", p.cents}});
    product = (product + random.between(1, 3)) % kCatalogue.size();  // no sku twice: 4 lines move at most 9 of 12
  }
  return items;
}

void spoil(Json& order, Random& random) {
  switch (random.below(6)) {
    case 0: order.erase("items"); break;
    case 1: order["items"] = Json::array(); break;
    case 2: order["items"][0]["qty"] = -1; break;
    case 3: order["items"][0]["sku"] = "TEA-UNOBTAINIUM-1"; break;
    case 4: order["customer"]["email"] = "not an address"; break;
    default: order["address"].erase("postcode"); break;
  }
}

Json make_order(std::uint64_t number, Random& random) {
  const std::string_view first = random.one_of(kFirst);
  const std::string_view last = random.one_of(kLast);
  const Place& place = random.one_of(kPlaces);
  const std::string_view street = random.one_of(kStreet);
  const std::uint64_t house = random.between(1, 199);
  const std::uint64_t minute = number * 7 + random.below(7);  // placed one after the other
  const std::uint64_t second = random.below(60);
  Json order;
  order["id"] = "o-" + padded(number, 5);
  order["placed_at"] = "2025-03-" + padded(1 + minute / 1440, 2) + "T" + padded(minute / 60 % 24, 2) + ":" +
                       padded(minute % 60, 2) + ":" + padded(second, 2) + "Z";
  order["customer"] = {{"name", std::string(first) + " " + std::string(last)},
                       {"email", ascii_only(first) + "." + ascii_only(last) + "@example.org"}};
  order["items"] = make_items(random);
  order["currency"] = place.currency;
  order["shipping_cents"] = 490;
  order["card"] = random.one_of(kCardGood);
  order["address"] = {{"street", std::string(street) + " " + std::to_string(house)},
                      {"city", place.city},
                      {"postcode", place.postcode},
                      {"country", place.country}};

  const std::uint64_t fate = random.below(100);
  if (fate < 15) order["card"] = kCardBusy;
  else if (fate < 20) order["card"] = kCardDeclined;
  else if (fate < 25) order["card"] = kCardUnconfirmed;
  else if (fate < 29) spoil(order, random);
  return order;
}

bool parse(const char* text, std::uint64_t& value) {
  const std::string_view view(text);
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  return error == std::errc() && end == view.data() + view.size();
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t count = 500;
  std::uint64_t seed = 15;  // among its first 40 orders is one of every kind
  if (argc > 3 || (argc > 1 && !parse(argv[1], count)) || (argc > 2 && !parse(argv[2], seed)) || count > 6000) {
    std::cerr << "usage: orders_generate [COUNT up to 6000 [SEED]]\n";
    return 64;
  }
  Random random(seed);
  for (std::uint64_t number = 1; number <= count; ++number) std::cout << make_order(number, random).dump() << '\n';
  return std::cout.flush() ? 0 : 1;
}
