// run_support: how most tests of the replay core begin: a Script, and activities that write down what they did.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/script.hpp"

namespace romancy::test {

using namespace resumer;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What activities did, in order; nothing when a test of this class begins.
inline std::vector<std::string> effects;
class Effects : public testing::Test {
 protected:
  void SetUp() override { effects.clear(); }
};

inline const auto act = activity("do", [](Attempt&, std::string what) {
  effects.push_back(what);
  return what;
});
inline const auto undo = activity("undo", [](Attempt&, std::string what) { effects.push_back("undo " + what); });

}  // namespace romancy::test
