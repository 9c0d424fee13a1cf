// Queues: who comes first, how many run at once, and that a pause is one, as the activities themselves see it.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

class QueueScenario : public OwnScenario {
 protected:
  std::string start_keyed(const std::string& name, const std::string& gate, int priority, const std::string& key) {
    return one("SELECT start_workflow('held_step', to_jsonb($1::text), $2, priority => $3, key => nullif($4, ''))",
               pg::Params(mine(gate), mine(name), priority, key));
  }
  // The names of the instances whose activity began, in order.
  std::string began() {
    return one("SELECT string_agg(substr(instance_id, $1::int + 1), ' ' ORDER BY id) FROM effects WHERE what = 'held'",
               pg::Params(static_cast<int>(prefix().size())));
  }
  // Until all have completed; meanwhile no more than that are in workers' hands.
  void expect_all_completed_with_at_most(int at_once, int of_a_key, int instances) {
    std::string seen;
    EXPECT_TRUE(eventually([&] {
      const auto running = sql("SELECT coalesce(sum(n), 0)::int, coalesce(max(n) FILTER (WHERE key <> ''), 0)::int "
                               "FROM (SELECT coalesce(key, '') AS key, count(*) AS n FROM workflow_instances WHERE worker IS NOT NULL GROUP BY 1) r");
      if (running.int64(0, 0) > at_once || running.int64(0, 1) > of_a_key) seen = running.str(0, 0) + ", of a key " + running.str(0, 1);
      return count("SELECT count(*) FROM workflow_instances WHERE status = 'completed'") == instances;
    }));
    EXPECT_EQ(seen, "");
  }
};
ROMANCY_THEME(Queues, QueueScenario);

TEST_P(Queues, TheMostUrgentComeFirst) {
  sql("SELECT set_queue('default', concurrency => 1)");
  open_gate(mine("gate"));
  for (const int priority : {0, -4, 3, 1, -1, 4}) start_keyed("p" + std::to_string(priority), "gate", priority, priority % 2 == 0 ? "k" : "");
  system.start_all(2);
  for (const int priority : {0, -4, 3, 1, -1, 4}) expect_completed(mine("p" + std::to_string(priority)));
  EXPECT_EQ(began(), "p4 p3 p1 p0 p-1 p-4");
}

TEST_P(Queues, AFloodOnOneKeyDoesNotStarveAnother) {
  sql("SELECT set_queue('default', concurrency => 1)");
  open_gate(mine("gate"));
  for (int i = 0; i < 30; ++i) start_keyed("f" + std::to_string(i), "gate", 0, "flood");
  start_keyed("small", "gate", 0, "small");
  start_keyed("none", "gate", 0, "");
  system.start_all(1);
  for (int i = 0; i < 30; ++i) expect_completed(mine("f" + std::to_string(i)));
  expect_completed(mine("small"));
  expect_completed(mine("none"));
  const std::string order = began();
  for (const std::string name : {" small", " none"}) {
    const auto place = (" " + order).find(name);
    EXPECT_LE(std::count(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(std::min(place, order.size())), ' '), 3) << order;
  }
}

TEST_P(Queues, NoMoreRunAtOnceThanAllowedAndTheNextBeginsWhenOneEnds) {
  sql("SELECT set_queue('default', concurrency => 4, key_concurrency => 1)");
  for (int i = 0; i < 8; ++i) start_keyed(std::to_string(i), "gate" + std::to_string(i), 0, i < 6 ? std::to_string(i / 2) : "");
  system.start_all(2);
  const auto held = [&] { return count("SELECT count(*) FROM effects WHERE what = 'held'"); };
  EXPECT_TRUE(eventually([&] { return held() == 4; })) << began();
  EXPECT_EQ(count("SELECT running FROM workflow_queues WHERE queue = 'default'"), 4);
  const auto of_keys = one("SELECT max(n) FROM (SELECT count(*) AS n FROM effects JOIN workflow_instances w USING (instance_id) WHERE w.key IS NOT NULL GROUP BY w.key) k");
  EXPECT_EQ(of_keys, "1");
  std::int64_t ended = 0;
  for (; ended < 8; ++ended) {
    const auto next = one("SELECT instance_id FROM effects e WHERE what = 'held' AND instance_id NOT IN "
                          "(SELECT instance_id FROM workflow_instances WHERE status = 'completed') ORDER BY id LIMIT 1");
    ASSERT_NE(next, "");
    open_gate(mine("gate" + next.substr(prefix().size())));
    expect_status(next, "completed");
    EXPECT_LE(held(), 4 + ended + 1) << "one ended, one begins";
    EXPECT_TRUE(eventually([&] { return held() > ended + 1 || ended == 7; })) << began();
  }
  EXPECT_EQ(held(), 8);
}

TEST_P(Queues, LimitsHoldWhenWorkersAreKilledAndWhatTheyHeldIsNotLost) {
  sql("SELECT set_queue('default', concurrency => 3, key_concurrency => 2)");
  system.start_all(2);
  for (int i = 0; i < 12; ++i) start_keyed(std::to_string(i), "gate", i % 3, i % 2 == 0 ? "a" : "");
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM effects WHERE what = 'held'") == 3; })) << began();
  system.worker(1).kill9();
  system.start_worker(3);
  EXPECT_TRUE(eventually([&] { return count("SELECT running FROM workflow_queues WHERE queue = 'default'") == 3; }));
  system.worker(2).kill9();
  system.start_worker(4);
  open_gate(mine("gate"));
  expect_all_completed_with_at_most(3, 2, 12);
}

TEST_P(Queues, WhatTheRateHoldsBackBeginsInItsTurnAlsoWhenAWorkerIsKilled) {
  sql("SELECT set_queue('default', rate => 10)");
  open_gate(mine("gate"));
  for (int i = 0; i < 12; ++i) start_keyed(std::to_string(i), "gate", 0, i % 2 == 0 ? "a" : "");
  start_keyed("urgent", "gate", 2, "");
  system.start_all(2);
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM effects") >= 3; }));
  system.worker(1).kill9();
  expect_completed(mine("urgent"));
  for (int i = 0; i < 12; ++i) expect_completed(mine(std::to_string(i)));
}

TEST_P(Queues, APausedQueueWaitsAndGoesOnWhenItIsResumed) {
  system.start_all(2);
  const auto before = start("held_step", mine("gate"), "before");
  expect_times(before, "held", 1);
  EXPECT_EQ(romancy({"queue", "pause", "default"}).exit_code, 0);
  const auto after = start("held_step", mine("gate"), "after");
  open_gate(mine("gate"));
  expect_completed(before);
  EXPECT_THAT(romancy({"queue", "list"}).out, testing::HasSubstr("paused"));
  EXPECT_EQ(times(after, "held"), 0);
  EXPECT_EQ(romancy({"queue", "resume", "default"}).exit_code, 0);
  expect_completed(after);
}

TEST_P(Queues, QueuedActivitiesAreHeldByNoMoreThanAllowedAlsoWhenAWorkerIsKilled) {
  sql("SELECT set_queue('scenario-stone', concurrency => 2)");
  system.start_all(2);
  for (int i = 0; i < 6; ++i) one("SELECT start_workflow('carver', to_jsonb($1::text), $2)", pg::Params(mine("gate"), mine(std::to_string(i))));
  std::int64_t most = 0;
  const auto held = [&] {
    const auto now = count("SELECT count(*) FROM activity_tasks WHERE queue = 'scenario-stone' AND status = 'held'");
    most = std::max(most, now);
    return now;
  };
  const auto begun = [&] { return count("SELECT count(DISTINCT instance_id) FROM effects WHERE what LIKE 'carve %'"); };
  EXPECT_TRUE(eventually([&] { return held() == 2 && begun() == 2; }));
  system.worker(1).kill9();
  system.start_worker(3);
  open_gate(mine("gate"));
  EXPECT_TRUE(eventually([&] {
    held();
    return count("SELECT count(*) FROM workflow_instances WHERE status = 'completed'") == 6;
  }));
  EXPECT_EQ(most, 2);
  EXPECT_EQ(begun(), 6);
}

}  // namespace
}  // namespace romancy::test
