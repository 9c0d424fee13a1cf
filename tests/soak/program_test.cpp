// The soak's programs and its model, without any database.
#include <gtest/gtest.h>

#include <functional>

#include "tests/soak/program.hpp"

namespace romancy::soak {
namespace {

TEST(SoakProgram, OneSeedMakesTheSameProgramsInAnyOrder) {
  std::vector<std::string> first;
  for (int n = 0; n < 200; ++n) first.push_back(make_program(7, n).text().dump());
  for (int n = 199; n >= 0; --n) EXPECT_EQ(make_program(7, n).text().dump(), first[static_cast<std::size_t>(n)]);
  EXPECT_NE(make_program(8, 0).text().dump(), first[0]);
}

TEST(SoakProgram, NoTwoActorsHaveOneIdAndNoTwoStepsOnePath) {
  for (int n = 0; n < 2000; ++n) {
    const Program program = make_program(1, n);
    std::set<std::string> ids;
    for (const Actor& actor : program.actors) {
      EXPECT_TRUE(ids.insert(actor.id).second) << program.text();
      EXPECT_TRUE(actor.id.starts_with(program.id + ".")) << actor.id;
      std::set<std::string> paths;
      const std::function<void(const Json&)> walk = [&](const Json& steps) {
        for (const Json& step : steps) {
          EXPECT_TRUE(paths.insert(step.at("p").get<std::string>()).second) << actor.id << step;
          if (step.contains("of")) {
            for (const Json& of : step.at("of")) walk(of);
          }
        }
      };
      walk(actor.steps);
    }
  }
}

// A status value has at most 16 KiB, and the outcomes have to fit.
TEST(SoakProgram, IsSmall) {
  for (int n = 0; n < 2000; ++n) {
    for (const Actor& actor : make_program(3, n).actors) EXPECT_LT(actor.steps.dump().size(), 60'000U);
  }
}

// ---- the model, on facts that are made up ---------------------------------------------------------------------------------

struct Case {
  Program program;
  Facts facts;
  Case() {
    program.id = "p0";
    Json steps = Json::parse(R"([
      {"k": "act", "p": "0", "via": "tx", "n": 1},
      {"k": "any", "p": "1", "of": [[{"k": "act", "p": "1.0.0", "via": "plain", "n": 2}], [{"k": "sleep", "p": "1.1.0", "ms": 5},
                                                                                  {"k": "act", "p": "1.1.1", "via": "plain", "n": 3}]]},
      {"k": "comp", "p": "2"}, {"k": "comp", "p": "3"},
      {"k": "recv", "p": "4", "ch": "c", "count": 2, "expect": [0, 1]}])");
    program.actors.push_back({.id = "p0.main", .steps = steps});
    Json log = Json::parse(R"({"0": {"ok": 8}, "1": {"won": [0]}, "1.0.0": {"ok": 15}, "2": true, "3": true, "4": {"got": [0, 1], "done": true}})");
    facts.instances["p0.main"] = {"completed", "", Json{{"log", log}}, Json{{"log", log}}};
    facts.effects[{"p0.main", "0"}] = {1, true, 1, ""};
    facts.effects[{"p0.main", "1.0.0"}] = {1, false, 0, ""};
  }
  void log(const std::function<void(Json&)>& change) {
    change(facts.instances["p0.main"].progress["log"]);
    facts.instances["p0.main"].output = facts.instances["p0.main"].progress;
  }
  [[nodiscard]] std::size_t wrong() const { return check(program, facts).violations.size(); }
};

TEST(SoakModel, AcceptsWhatIsAsItShouldBe) { EXPECT_EQ(Case().wrong(), 0U); }

TEST(SoakModel, AcceptsTheOtherWinnerAndALoserThatHadBegun) {
  Case other;
  other.log([](Json& log) {
    log["1"] = Json{{"won", Json::array({1})}};
    log["1.1.0"] = Json{{"us", 5000}};
    log["1.1.1"] = Json{{"ok", 22}};
    log.erase("1.0.0");
  });
  other.facts.effects[{"p0.main", "1.1.1"}] = {1, false, 0, ""};
  EXPECT_EQ(other.wrong(), 0U);  // the loser's effect may be there: it had begun
}

TEST(SoakModel, FindsEachKindOfWrong) {
  const std::vector<std::pair<const char*, std::function<void(Case&)>>> kWrongs{
      {"an effect twice", [](Case& c) { c.facts.effects[{"p0.main", "0"}].times = 2; }},
      {"an effect lost", [](Case& c) { c.facts.effects.erase({"p0.main", "0"}); }},
      {"another result", [](Case& c) { c.log([](Json& log) { log["0"]["ok"] = 9; }); }},
      {"a message lost", [](Case& c) { c.log([](Json& log) { log["4"]["got"] = Json::array({0}); }); }},
      {"messages out of order", [](Case& c) { c.log([](Json& log) { log["4"]["got"] = Json::array({1, 0}); }); }},
      {"a step left out", [](Case& c) { c.log([](Json& log) { log.erase("1"); }); }},
      {"an effect behind a step that was not done", [](Case& c) { c.facts.effects[{"p0.main", "1.1.1"}] = {1, false, 0, ""}; }},
      {"an effect nobody asked for", [](Case& c) { c.facts.effects[{"p0.main", "9"}] = {1, false, 0, ""}; }},
      {"compensated although it completed", [](Case& c) { c.facts.effects[{"p0.main", "2~undo"}] = {1, true, 5, ""}; }},
      {"cancelled by nobody", [](Case& c) { c.facts.instances["p0.main"].status = "cancelled"; }},
      {"failed by itself", [](Case& c) { c.facts.instances["p0.main"].status = "failed"; }},
      {"never started", [](Case& c) { c.facts.instances.clear(); }},
      {"one generation by two versions", [](Case& c) { c.facts.made_by[{"p0.main", "1"}] = {"1", "2"}; }},
      {"made by another version than the one it is pinned to", [](Case& c) {
         c.facts.instances["p0.main"].generation = 2;
         c.facts.instances["p0.main"].version = "1";
         c.facts.made_by[{"p0.main", "2"}] = {"2"};
       }},
      {"started by nobody", [](Case& c) { c.facts.instances["p0.other"] = c.facts.instances["p0.main"]; }},
  };
  for (const auto& [what, change] : kWrongs) {
    Case wrong;
    change(wrong);
    EXPECT_GT(wrong.wrong(), 0U) << what;
  }
}

TEST(SoakModel, EachGenerationMayBeOfAnotherVersionAndAMovedOneOfBoth) {
  Case each;
  each.facts.instances["p0.main"].generation = 2;
  each.facts.instances["p0.main"].version = "2";
  each.facts.made_by[{"p0.main", "1"}] = {"1"};
  each.facts.made_by[{"p0.main", "2"}] = {"2"};
  EXPECT_EQ(each.wrong(), 0U);
  each.facts.made_by[{"p0.main", "2"}] = {"1", "2"};
  EXPECT_GT(each.wrong(), 0U);
  each.facts.moved.insert("p0.main");
  EXPECT_EQ(each.wrong(), 0U);
}

TEST(SoakModel, ACancelledSagaIsUndoneNewestFirst) {
  Case undone;
  undone.program.actors[0].cancellable = true;
  undone.facts.instances["p0.main"].status = "cancelled";
  EXPECT_GT(undone.wrong(), 0U);
  undone.facts.effects[{"p0.main", "3~undo"}] = {1, true, 10, ""};
  undone.facts.effects[{"p0.main", "2~undo"}] = {1, true, 11, ""};
  EXPECT_EQ(undone.wrong(), 0U);
  undone.facts.effects[{"p0.main", "2~undo"}].order = 9;
  EXPECT_GT(undone.wrong(), 0U);
}

}  // namespace
}  // namespace romancy::soak
