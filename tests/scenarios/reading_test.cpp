// Reading a running workflow: the status value that it sets, in SQL and on the command line; its result, waited for.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class Readings : public Scenario {
 protected:
  Json progress(const std::string& id) {
    const auto text = one("SELECT progress FROM workflow_instances WHERE instance_id = $1", pg::Params(id));
    return text.empty() ? Json() : Json::parse(text);
  }
  void expect_progress(const std::string& id, const Json& wanted) {
    EXPECT_TRUE(eventually([&] { return progress(id) == wanted; })) << progress(id) << "\n" << story(id);
  }
};
ROMANCY_THEME(Reading, Readings);

TEST_P(Reading, TheStatusValueIsThereBeforeTheActivityBeginsAndAfterTheEnd) {
  const auto gate = mine("gate");
  const auto id = start("reporter", gate);
  expect_times(id, "held", 1);
  EXPECT_EQ(progress(id), Json({{"done", 0}, {"of", 2}}));
  open_gate(gate);
  expect_progress(id, {{"done", 1}, {"of", 2}});
  expect_at_rest(id);
  EXPECT_THAT(romancy({"show", id}).out, HasSubstr(R"(progress  {"of": 2, "done": 1})"));
  publish(id, "go on", 1);
  expect_completed(id);
  EXPECT_EQ(progress(id), "finished");
}

TEST_P(Reading, TheStatusValueStaysOverNewGenerations) {
  const auto id = start("rounds", 0);
  for (int round = 0; round < 4; ++round) {
    expect_progress(id, {{"round", round / 2 * 2}});
    EXPECT_TRUE(eventually([&] { return count("SELECT generation FROM workflow_instances WHERE instance_id = $1", pg::Params(id)) == round; }));
    expect_at_rest(id);
    EXPECT_EQ(progress(id), Json({{"round", round / 2 * 2}}));
    publish(id, "go on", 1);
  }
  expect_completed(id);
}

TEST_P(Reading, AResultIsWaitedFor) {
  const auto id = start("square_of", 7);
  const Said said = romancy({"result", id, "--wait", "--timeout", "60"});
  EXPECT_EQ(said.out, "49\n");
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(romancy({"start", "square_of", "--input", "8", "--id", mine("b"), "--wait"}).out, "64\n");
}

}  // namespace
}  // namespace romancy::test
