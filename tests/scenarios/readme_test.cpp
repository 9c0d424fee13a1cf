// The README's example: the program was compiled from its C++ block; here its SQL block is run against it.
#include <fstream>
#include <iterator>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

std::string block(const std::string& language) {
  std::ifstream file(ROMANCY_README);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto from = text.find("```" + language + "\n") + language.size() + 4;
  return text.substr(from, text.find("```", from) - from);
}

class Readme : public testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(Scenarios, Readme, all_modes(), name_of_param);

TEST_P(Readme, ItsSmallestWorkflowRunsAsItStandsThere) {
  auto options = options_of(GetParam());
  options.worker = "readme_hello";
  System system(options);
  prepare(system, GetParam());
  system.start_all(2);

  // The schema's name is the reader's; ours is another one.
  std::string script = block("sql");
  for (auto at = script.find("romancy."); at != script.npos; at = script.find("romancy.", at)) script.replace(at, 8, system.schema() + ".");
  std::vector<std::string> statements;
  for (std::size_t from = 0, end; (end = script.find(';', from)) != script.npos; from = end + 1) {
    statements.push_back(script.substr(from, end - from));
  }
  ASSERT_EQ(statements.size(), 3u) << "start, publish, result";
  system.sql(statements[0]);
  system.sql(statements[1]);
  EXPECT_TRUE(eventually([&] { return system.sql(statements[2]).str(0, 0) == "completed"; })) << system.worker(1).log();
  EXPECT_EQ(system.sql(statements[2]).str(0, 1), "\"Ada says good morning\"");
  EXPECT_TRUE(system.worker(1).logged("hello, Ada\n") || system.worker(2).logged("hello, Ada\n"));
  system.expect_quiescent();
}

TEST(ReadmeExample, IsTenLines) {
  const std::string program = block("cpp");
  EXPECT_EQ(std::count(program.begin(), program.end(), '\n'), 10);
}

}  // namespace
}  // namespace romancy::test
