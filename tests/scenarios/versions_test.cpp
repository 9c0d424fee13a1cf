// Versions: two builds of a program side by side; what one began it ends, and nobody else touches it.
#include <sys/wait.h>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class SideBySide : public OwnScenario {
 protected:
  // Worker `number`, built from the code of this version.
  void start_version(int number, const std::string& version) {
    system.start_worker(number, {{"ROMANCY_WORKER_VERSION", version}});
    EXPECT_TRUE(eventually([&] { return workers(version) >= 1; })) << system.worker(number).log();
    if (GetParam().hearing == Hearing::notified) {
      EXPECT_TRUE(eventually([&] { return system.worker(number).logged("hub connection established"); })) << system.worker(number).log();
    }
  }
  std::int64_t workers(const std::string& version) {
    return count("SELECT count(*) FROM workers WHERE version = $1", pg::Params(version));
  }
  std::string version(const std::string& id) {
    return one("SELECT version FROM workflow_instances WHERE instance_id = $1", pg::Params(id));
  }
  std::string begun(const std::string& workflow, const std::string& name, const Json& input = nullptr) {
    const auto id = start(workflow, input, name);
    expect_at_rest(id);
    return id;
  }
  void does(const std::vector<std::string>& command) {
    const auto said = romancy(command);
    EXPECT_EQ(said.exit_code, 0) << said.out;
  }
};
ROMANCY_THEME(Versions, SideBySide);

TEST_P(Versions, ADeployTheOldOneDrainsAndEndsWhatItBeganTheNewOneTakesWhatIsNew) {
  system.start_all(0);
  start_version(1, "v1");
  std::vector<std::string> olds, news;
  for (int i = 0; i < 4; ++i) olds.push_back(begun("versioned", "old" + std::to_string(i)));
  start_version(2, "v2");
  does({"drain-version", "v1"});
  for (int i = 0; i < 4; ++i) news.push_back(begun("versioned", "new" + std::to_string(i)));
  EXPECT_EQ(one("SELECT string_agg(version || ' ' || workers || ' ' || instances || ' ' || (draining_since IS NOT NULL), ', ' ORDER BY version) FROM worker_versions"),
            "v1 1 4 true, v2 1 4 false");
  for (const auto& id : olds) publish(id, "go", 1);
  for (const auto& id : news) publish(id, "go", 1);
  for (const auto& id : olds) {
    expect_completed(id, "v1");
    EXPECT_THAT(effects(id), ElementsAre("v1 begins", "v1 ends"));
  }
  for (const auto& id : news) {
    expect_completed(id, "v2");
    EXPECT_THAT(effects(id), ElementsAre("v2 begins", "v2 ends"));
  }
  EXPECT_EQ(count("SELECT instances FROM worker_versions WHERE version = 'v1'"), 0) << "and it may be stopped";
  EXPECT_EQ(system.worker(1).terminate(), 0);
  expect_completed(olds.front());
}

TEST_P(Versions, WithoutADrainEachEndsWhatItBegan) {
  system.start_all(0);
  start_version(1, "v1");
  start_version(2, "v2");
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(begun("versioned", std::to_string(i)));
  for (const auto& id : ids) publish(id, "go", 1);
  for (const auto& id : ids) {
    expect_completed(id, version(id));
    EXPECT_THAT(effects(id), ElementsAre(version(id) + " begins", version(id) + " ends"));
  }
}

TEST_P(Versions, AKilledWorkersInstancesWaitForItsVersion) {
  system.start_all(0);
  start_version(1, "v1");
  const auto id = begun("versioned", "old");
  const auto held = start("versioned_hold", mine("gate"), "held");
  expect_times(held, "held", 1);
  system.worker(1).kill9();
  EXPECT_TRUE(eventually([&] { return workers("v1") == 0; }));
  start_version(2, "v2");
  publish(id, "go", 1);
  open_gate(mine("gate"));
  expect_completed(start("one_step", "meanwhile", "other"), "meanwhile");
  EXPECT_EQ(status(id), "running");
  EXPECT_THAT(romancy({"show", id}).out, HasSubstr("then no living worker serves default/versioned at version v1"));
  EXPECT_EQ(times(held, "held"), 1);
  EXPECT_EQ(version(held), "v1");
  start_version(3, "v1");
  expect_completed(id, "v1");
  publish(held, "go", 1);
  expect_completed(held, "v1");
}

TEST_P(Versions, AStartWhileAllDrainWaitsUntilOneGoesOn) {
  system.start_all(0);
  start_version(1, "v1");
  does({"drain-version", "v1"});
  const auto id = start("versioned");
  EXPECT_THAT(romancy({"show", id}).out, HasSubstr("is ready, but no living worker serves default/versioned but those of versions that drain"));
  EXPECT_TRUE(history(id).empty());
  does({"resume-version", "v1"});
  expect_at_rest(id);
  EXPECT_THAT(romancy({"show", id}).out, Not(HasSubstr("no living worker")));
  publish(id, "go", 1);
  expect_completed(id, "v1");
}

TEST_P(Versions, EachGenerationBeginsWithWhoeverTakesIt) {
  system.start_all(0);
  start_version(1, "v1");
  const auto id = begun("versioned_loop", "loop");
  start_version(2, "v2");
  does({"drain-version", "v1"});
  publish(id, "again", true);
  expect_times(id, "v2 round", 1);
  expect_at_rest(id);
  EXPECT_EQ(version(id), "v2");
  publish(id, "again", false);
  expect_completed(id, "v2");
  EXPECT_THAT(effects(id), ElementsAre("v1 round", "v2 round"));
}

TEST_P(Versions, AMessageThatIsCommittedWhenTheVersionItWasForIsGoneArrives) {
  system.start_all(0);
  start_version(1, "v1");
  const auto id = begun("versioned_loop", "loop");
  const auto slow = another();
  slow->sql("BEGIN");
  slow->publish(id, "again", false);
  start_version(2, "v2");
  does({"drain-version", "v1"});
  publish(id, "again", true);
  expect_times(id, "v2 round", 1);
  expect_at_rest(id);
  EXPECT_EQ(system.worker(1).terminate(), 0);
  slow->sql("COMMIT");
  expect_completed(id, "v2");
}

TEST_P(Versions, ChildrenBeginWithWhoeverTakesThemAndTellTheirParent) {
  system.start_all(0);
  start_version(1, "v1");
  const auto id = start("versioned_parent", mine("kid"), "parent");
  expect_at_rest(mine("kid"));
  EXPECT_EQ(version(mine("kid")), "v1");
  start_version(2, "v2");
  does({"drain-version", "v1"});
  const auto late = start("versioned_parent", mine("late kid"), "late parent");
  expect_at_rest(mine("late kid"));
  for (const auto* kid : {"kid", "late kid"}) publish(mine(kid), "go", 1);
  expect_completed(id, "v1 of v1");
  expect_completed(late, "v2 of v2");
}

TEST_P(Versions, OneThatWasMovedToCodeThatDoesNotMatchIsParkedAndGoesOnWhenItIsMovedBack) {
  system.start_all(0);
  start_version(1, "v1");
  const auto id = begun("versioned", "old");
  start_version(2, "v2");
  does({"set-version", id, "v2"});
  EXPECT_THAT(romancy({"set-version", id, "v2"}).out, HasSubstr("is pinned to v2 already"));
  publish(id, "go", 1);
  expect_status(id, "stuck");
  EXPECT_THAT(note(id), HasSubstr("mismatch"));
  does({"set-version", id, "v1"});
  does({"resume", id});
  expect_completed(id, "v1");
  EXPECT_THAT(effects(id), ElementsAre("v1 begins", "v1 ends"));
}

TEST_P(Versions, OneThatIsHeldWhenItIsMovedGoesOverWhenItsHolderLetsGo) {
  system.start_all(0);
  start_version(1, "v1");
  const auto id = start("versioned_hold", mine("gate"));
  expect_times(id, "held", 1);
  start_version(2, "v2");
  does({"set-version", id, "v2"});
  open_gate(mine("gate"));
  expect_at_rest(id);
  EXPECT_THAT(effects(id), ElementsAre("v1 begins", "held"));
  publish(id, "go", 1);
  expect_completed(id, "v2");
}

TEST_P(Versions, AWorkerWithoutAVersionTakesWhatIsNotPinnedAndNothingElse) {
  system.start_all(1);
  const auto before = begun("mailbox", "before", 1);
  EXPECT_EQ(version(before), "");
  start_version(2, "v2");
  does({"drain-version", "v2"});
  const auto id = begun("versioned", "new");
  EXPECT_THAT(effects(id), ElementsAre("none begins"));
  does({"resume-version", "v2"});
  EXPECT_EQ(system.worker(1).terminate(), 0);
  const auto other = begun("versioned", "other");
  publish(before, "mail", "over");
  expect_completed(before, {"over"});
  EXPECT_EQ(version(before), "v2") << "its first commit by one that has a version";
  system.start_worker(3);
  publish(other, "go", 1);
  expect_completed(other, "v2");
}

TEST_P(Versions, AVersionThatNoSessionCouldHaveIsRefusedAtOnce) {
  system.start_worker(1, {{"ROMANCY_WORKER_VERSION", std::string(256, 'v')}});
  EXPECT_EQ(WEXITSTATUS(system.worker(1).wait()), 78);
  EXPECT_THAT(system.worker(1).log(), HasSubstr("worker: version: must be 1 to 255 bytes"));
}

}  // namespace
}  // namespace romancy::test
