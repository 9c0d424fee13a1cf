#include <gtest/gtest.h>

#include "cli/text.hpp"

namespace romancy::cli {
namespace {

TEST(CliTable, ColumnsAreAlignedByCharacters) {
  Table table({"NAME", "N"});
  table.add({"é", "1"});
  table.add({"longer", "2"});
  EXPECT_EQ(table.text(), "NAME    N\né       1\nlonger  2\n");
}

TEST(CliTable, StoredTextCannotSteerTheTerminal) {
  Table table({"A"});
  table.add({"x\x1b[2Jy\nz"});
  EXPECT_EQ(table.text(), "A\nx?[2Jy?z\n");
}

TEST(CliText, ShortenedTextSaysSo) {
  EXPECT_EQ(shorten("short", 10), "short");
  EXPECT_EQ(shorten("0123456789ab", 10), "0123456...");
  EXPECT_EQ(shorten("ééééééééééé", 10), "ééééééé...");
}

TEST(CliText, DurationsAreForPeople) {
  EXPECT_EQ(human_duration(0), "0s");
  EXPECT_EQ(human_duration(59'999), "59s");
  EXPECT_EQ(human_duration(125'000), "2m 5s");
  EXPECT_EQ(human_duration(3'600'000), "1h");
  EXPECT_EQ(human_duration(93'600'000), "1d 2h");
}

TEST(CliJson, StoredJsonPassesThroughUnchanged) {
  const std::string json = JsonObject()
                               .text("id", "a\"b")
                               .text("note", std::nullopt)
                               .raw("data", R"({"n": 9007199254740993, "x": 1.10})")
                               .raw("none", std::nullopt)
                               .number("seq", 7)
                               .boolean("served", true)
                               .str();
  EXPECT_EQ(json,
            R"({"id":"a\"b","note":null,"data":{"n": 9007199254740993, "x": 1.10},"none":null,"seq":7,"served":true})");
  EXPECT_EQ(json_array({}), "[]");
  EXPECT_EQ(json_array({"1", "{}"}), "[1,{}]");
}

}  // namespace
}  // namespace romancy::cli
