// JSON at the border: what is refused names the field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include <romancy/romancy.hpp>

namespace romancy {
namespace {

using testing::HasSubstr;

struct Item {
  std::int32_t count = 0;
  std::uint8_t small = 0;
  double price = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Item, count, small, price)
struct Basket {
  std::string id;
  std::vector<Item> items;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Basket, id, items)

template <class T>
std::string refused(std::string_view text) {
  try {
    (void)detail::from_text<T>(text, "input");
  } catch (const BadData& e) {
    return e.what();
  }
  return "accepted";
}
template <class T>
std::string refused_out(const T& value) {
  try {
    (void)detail::to_text(value, "result");
  } catch (const BadData& e) {
    return e.what();
  }
  return "accepted";
}

TEST(SdkJson, AWrongFieldIsNamedByItsPath) {
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":1,"small":1,"price":1.5}]})"), "accepted");
  EXPECT_EQ(refused<Basket>(R"({"id":7,"items":[]})"), "input: (/id) type must be string, but is number");
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":"x","small":1,"price":1}]})"),
            "input: (/items/0/count) type must be number, but is string");
  EXPECT_EQ(refused<Basket>(R"({"id":"b"})"), "input: key 'items' not found");
}

TEST(SdkJson, BytesThatAreNoneAreRefusedWithTheirPlace) {
  EXPECT_EQ(refused<Bytes>(R"({"$binary":"a-b="})"), "input: $binary: has a character that is not base64");
  EXPECT_EQ(refused<Bytes>(R"({"$binary":"abc"})"), "input: $binary: is not base64: its length is no multiple of four");
  EXPECT_EQ(refused<Bytes>(R"({"binary":"abcd","more":1})"), R"(input: is not {"$binary": "<base64>"})");
  EXPECT_EQ(refused<Bytes>(R"({"$binary":"YWI="})"), "accepted");
}

// jsonb writes 1e16 as an integer.
TEST(SdkJson, AFloatThatTheDatabaseWroteAsAnIntegerIsStillAFloat) {
  EXPECT_EQ(detail::from_text<double>("10000000000000000", "input"), 1e16);
  EXPECT_EQ(detail::from_text<double>("100000000000000000000000", "input"), 1e23);
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":1,"small":1,"price":10000000000000000000000}]})"), "accepted");
}

TEST(SdkJson, ANumberThatDoesNotFitIsRefusedNotCut) {
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":4294967297,"small":1,"price":1}]})"),
            "input: /items/0/count: the number does not fit into its field");
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":1,"small":300,"price":1}]})"),
            "input: /items/0/small: the number does not fit into its field");
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":1,"small":-1,"price":1}]})"),
            "input: /items/0/small: the number does not fit into its field");
  EXPECT_EQ(refused<Basket>(R"({"id":"b","items":[{"count":1.5,"small":1,"price":1}]})"),
            "input: /items/0/count: the number does not fit into an integer");
  EXPECT_EQ(refused<std::int32_t>("3000000000"), "input: the number does not fit into its field");
  EXPECT_EQ(refused<std::uint64_t>("-1"), "input: the number does not fit into its field");
  EXPECT_EQ(refused<std::uint64_t>("18446744073709551615"), "accepted");
  EXPECT_EQ(refused<std::int64_t>("2.0"), "accepted");
  EXPECT_EQ((refused<std::set<int>>("[256, 0, 3]")), "accepted");  // another order is no cut
}

TEST(SdkJson, WhatCannotBeStoredIsRefusedWhereItIsProduced) {
  EXPECT_EQ(refused_out(Basket{"b", {{1, 1, std::nan("")}}}), "result: /items/0/price: not a finite number");
  EXPECT_EQ(refused_out(Basket{std::string("a\0b", 3), {}}), "result: /id: has a NUL character");
  EXPECT_EQ(refused_out(std::vector<std::string>{"ok", "caf\xe9"}), "result: /1: is not valid UTF-8");
  EXPECT_EQ(refused_out(std::string("\xed\xa0\x80")), "result: is not valid UTF-8");  // half a surrogate pair
  EXPECT_EQ(refused_out(std::string("\xc0\x80")), "result: is not valid UTF-8");      // an overlong NUL
  EXPECT_EQ(refused_out(std::string("\xf4\x90\x80\x80")), "result: is not valid UTF-8");
  EXPECT_EQ(refused_out(std::string("\xf0\x9f\x98\x80 \xe2\x82\xac \xc3\xa9")), "accepted");
  EXPECT_EQ(refused_out(Json::binary({1, 2})), "result: binary values have no JSON text");
  EXPECT_EQ(refused_out(std::map<std::string, int>{{"\xff", 1}}), "result: a key: is not valid UTF-8");
  EXPECT_EQ(refused_out(std::string(kMaxJsonBytes, 'x')), "result: longer than 16777216 bytes");
  Json deep = 1;
  for (int i = 0; i < 100; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(deep));
    deep = std::move(outer);
  }
  EXPECT_THAT(refused_out(deep), HasSubstr("nested too deep"));
}

TEST(SdkJson, TextThatIsTooDeepOrTooLongIsRefusedBeforeItIsParsed) {
  EXPECT_EQ(refused<Json>(std::string(100'000, '[')), "input: nested deeper than 64 levels");
  EXPECT_EQ(refused<Json>(R"({"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[["})"),
            "accepted");
  EXPECT_THAT(refused<Json>("\"" + std::string(kMaxJsonBytes, 'x') + "\""), HasSubstr("longer than"));
  EXPECT_THAT(refused<Json>("{\"a\":"), HasSubstr("input: parse error"));
}

}  // namespace
}  // namespace romancy
