#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "cli/input.hpp"

namespace romancy::cli {
namespace {

TEST(CliInput, TextIsPassedOnAsItWasGiven) {
  EXPECT_EQ(*read_json_argument("--input", R"({"n": 9007199254740993})"), R"({"n": 9007199254740993})");
}

TEST(CliInput, AtMeansAFile) {
  const std::string path = testing::TempDir() + "cli_input_test.json";
  std::ofstream(path) << "[1, 2]\n";
  EXPECT_EQ(*read_json_argument("--input", "@" + path), "[1, 2]\n");
  std::remove(path.c_str());
}

TEST(CliInput, ErrorsNameTheOption) {
  for (const char* value : {"{", "", "nope", "@/does/not/exist", "{\"a\":\"\xff\"}"}) {
    const auto refused = read_json_argument("--input", value);
    ASSERT_FALSE(refused) << value;
    EXPECT_EQ(refused.error().kind, ErrorKind::refuse);
    EXPECT_THAT(refused.error().text, testing::StartsWith("--input: ")) << value;
  }
}

}  // namespace
}  // namespace romancy::cli
