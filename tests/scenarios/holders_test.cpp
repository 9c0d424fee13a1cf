// Holders: one process holds an instance whose activity runs, and the hub chooses another for what comes in.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

// No poll and no heartbeat comes to the rescue while notifications work.
class HeldElsewhere : public OwnScenario {
 protected:
  HeldElsewhere() : OwnScenario("", "10m", "1h") {}

  // All of them are worker 1's, which is alone; then there is worker 2, and the hub sends about half of what comes in there.
  std::vector<std::string> held(const std::string& workflow) {
    system.start_all(1);
    std::vector<std::string> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(start(workflow, mine("gate"), std::to_string(i)));
    for (const auto& id : ids) expect_times(id, "held", 1);
    system.start_worker(2);
    EXPECT_TRUE(eventually([&] { return system.count("SELECT count(*) FROM workers WHERE kind = 'resumer'") == 2; }));
    if (GetParam().hearing == Hearing::notified) {
      EXPECT_TRUE(eventually([&] { return system.worker(2).logged("hub connection established"); })) << system.worker(2).log();
    }
    return ids;
  }
};
ROMANCY_THEME(Holders, HeldElsewhere);

TEST_P(Holders, AMessageReachesThemWhoeverHearsOfIt) {
  const auto ids = held("async_overtaken");
  for (const auto& id : ids) publish(id, "stop", "stopped");
  for (const auto& id : ids) publish(id, "go on", 1);
  for (const auto& id : ids) expect_completed(id, "stopped");
}

TEST_P(Holders, ACancellationReachesThemWhoeverHearsOfIt) {
  const auto ids = held("async_held");
  for (const auto& id : ids) cancel(id);
  for (const auto& id : ids) expect_cancelled(id);
}

}  // namespace
}  // namespace romancy::test
