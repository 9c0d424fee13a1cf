// Sizes: values as large as is allowed, and larger. On an installation of its own, because a process that copies many of
// them, slowed down by a sanitizer, is late with all else.
#include <map>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class Large : public OwnScenario {
 protected:
  Large() : OwnScenario("", "60s") {}
};
ROMANCY_THEME(Sizes, Large);

TEST_P(Sizes, WhatAWorkflowMakesTooLargeFailsItByNameAndItsNeighboursGoOn) {
  system.start_all(2);
  const std::map<std::string, std::string> named = {
      {"activity result", "result"}, {"activity input", "swallows"}, {"message", "news"},        {"event", "event news"},
      {"side effect", "news"},       {"compensation", "undo"},       {"output", "output"}};
  for (const auto& [how, name] : named) {
    start("naps", {1, 5, 1}, "before " + how);
    start("grown", {{"how", how}, {"bytes", 16'777'216}}, how);
    start("naps", {5, 1, 5}, "after " + how);
  }
  for (const auto& [how, name] : named) {
    const auto id = mine(how);
    const auto message = expect_failed(id).at("message").get<std::string>();
    EXPECT_THAT(message, HasSubstr("longer than 16777216 bytes")) << how;
    EXPECT_THAT(message, HasSubstr(name)) << how;
    EXPECT_EQ(times(id, "undo before"), 1) << how;
    EXPECT_EQ(times(id, "grows"), how == "activity result" ? 1 : 0) << how << ": the same would be too large again";
    EXPECT_EQ(times(id, "swallows"), 0) << how;
    expect_completed(mine("before " + how), 3);
    expect_completed(mine("after " + how), 3);
  }
}

TEST_P(Sizes, TheLargestThatIsAllowedIsKept) {
  system.start_all(2);
  const int largest = 16'777'216 - 2;  // and two quotes
  expect_completed(start("grown", {{"how", "activity result"}, {"bytes", largest}}, "result"), "done");
  const auto id = start("grown", {{"how", "output"}, {"bytes", largest}}, "output");
  expect_status(id, "completed");
  EXPECT_EQ(count("SELECT length(output #>> '{}') FROM workflow_result($1)", pg::Params(id)), largest);
}

}  // namespace
}  // namespace romancy::test
