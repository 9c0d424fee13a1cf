// The pure parts of the engine: answers parsed, batches flattened, outputs merged, copies in memory trusted or not.
#include <gtest/gtest.h>

#include "resumer/lease.hpp"
#include "resumer/run_cache.hpp"
#include "resumer/run_store.hpp"

namespace romancy::resumer {
namespace {

TEST(RunStore, AnInboxRowKeepsItsTextsAndItsAbsentValues) {
  const auto rows = parse_inbox(R"([[7, 2, 0, "mail", {"a": 9007199254740993}, {}, 12], [8, 3, 5, null, null, null, null]])");
  ASSERT_TRUE(rows) << rows.error().text;
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].kind, InboxKind::message);
  EXPECT_EQ((*rows)[0].data, R"({"a":9007199254740993})");
  EXPECT_EQ((*rows)[0].message_id, 12);
  EXPECT_EQ((*rows)[1].op, 5);
  EXPECT_EQ((*rows)[1].data, "");
}

TEST(RunStore, AnAnswerOfAnotherShapeIsRefusedNotGuessed) {
  EXPECT_FALSE(parse_inbox("[[1, 2]]"));
  EXPECT_FALSE(parse_history("[[1, 2, 3]]"));
  EXPECT_FALSE(parse_history("[1"));
  EXPECT_TRUE(parse_history("")->empty());
}

TEST(RunStore, RowsOfABatchCarryThePositionOfTheirRun) {
  CommitItem first{"a", 3, "", {}}, second{"b", 4, "why", {}};
  first.output.consumed = {10, 11};
  first.output.given_back = {13};
  first.output.note = "compensation failed: x";
  second.output.note = "not this one";
  second.output.recur = true;
  second.output.waits = {{5, "jobs"}};
  second.output.subscriptions = {{"jobs", true, 4, ChannelMode::competing}};
  second.output.groups = {{"team", false}};
  second.output.messages = {{"news", "1", "", std::nullopt, "team"}};
  second.output.history = {{1, 0, HistoryKind::started, "", "{}"}};
  second.output.consumed = {12};
  second.output.children = {{7, "c", "ship", "default", "1", true}, {0, "d", "fly", "sky", "", false}};
  second.output.cancels = {{"e", "enough"}};
  const auto params = commit_params(99, {&first, &second}, 100);
  const auto& values = params.values();
  ASSERT_EQ(values.size(), 73u);
  EXPECT_EQ(values[0], "99");
  EXPECT_EQ(values[6], "{2}");          // h_run
  EXPECT_EQ(values[12], "{1,1,2}");     // consumed_run
  EXPECT_EQ(values[13], "{10,11,12}");  // consumed_id
  EXPECT_EQ(values[3], "{1,7}");  // statuses: 7 continues as new
  EXPECT_EQ(values[5], R"({"compensation failed: x","why"})");
  EXPECT_EQ(values[16], "{1}");         // back_run
  EXPECT_EQ(values[17], "{13}");        // back_id
  EXPECT_EQ(values[25], "{2}");         // w_run
  EXPECT_EQ(values[26], "{5}");         // w_op
  EXPECT_EQ(values[29], "{4}");         // sub_op
  EXPECT_EQ(values[32], "{2}");         // sub_mode
  EXPECT_EQ(values[35], "{f}");         // g_on
  EXPECT_EQ(values[41], "{\"team\"}");  // m_group
  EXPECT_EQ(values[48], "{2,2}");       // c_run
  EXPECT_EQ(values[49], "{7,0}");       // c_op
  EXPECT_EQ(values[53], R"({"1","null"})");  // c_input
  EXPECT_EQ(values[54], "{t,f}");       // c_follows
  EXPECT_EQ(values[55], R"({"5","5"})");  // c_lane
  EXPECT_EQ(values[57], R"({"e"})");    // cancel_id
  EXPECT_EQ(values[71], "100");
  EXPECT_FALSE(values[72]) << "no version";
  EXPECT_EQ(commit_params(99, {&first}, 100, "v1").values()[72], "v1");
}

TEST(Engine, MergedOutputsKeepTheOrderOfHistoryAndTheLastStatus) {
  Output early, late;
  early.history = {{1, 0, HistoryKind::started, "", "{}"}};
  early.release = true;
  late.history = {{2, 1, HistoryKind::timer_started, "sleep", "{}"}};
  late.release = false;
  late.status = Status::compensating;
  const Output both = merge(early, late);
  ASSERT_EQ(both.history.size(), 2u);
  EXPECT_EQ(both.history[1].seq, 2);
  EXPECT_FALSE(both.release);
  EXPECT_EQ(both.status, Status::compensating);
}

TEST(Engine, OfTwoStatusValuesInOneCommitTheLaterCounts) {
  Output early, late, silent;
  early.progress = "1";
  late.progress = "2";
  EXPECT_EQ(merge(early, late).progress, "2");
  EXPECT_EQ(merge(early, silent).progress, "1");
  EXPECT_EQ(merge(silent, late).progress, "2");
  EXPECT_FALSE(early.empty());
}

TEST(Engine, OnlyTheStartMayTravelWithTheFirstResult) {
  Output output;
  output.history = {{1, 0, HistoryKind::started, "", "{}"}};
  output.consumed = {1};
  output.release = false;
  EXPECT_TRUE(says_only_started(output));
  Output sent = output;
  sent.outbox.push_back({});
  EXPECT_FALSE(says_only_started(sent));
  Output parent = output;
  parent.children.push_back({});
  EXPECT_FALSE(says_only_started(parent));
  EXPECT_EQ(merge(output, parent).children.size(), 1u);
  Output said = output;
  said.progress = "1";
  EXPECT_FALSE(says_only_started(said));
  Output told = output;
  told.history.push_back({2, 0, HistoryKind::cancel_requested, "", "{}"});
  EXPECT_FALSE(says_only_started(told));
  Output released = output;
  released.release = true;
  EXPECT_FALSE(says_only_started(released));
}

TEST(Engine, AProgramWithManyWorkflowsStillHasAGroupThatTheHubAccepts) {
  const auto registry_of = [](int count) {
    std::vector<WorkflowRef> workflows;
    for (int i = 0; i < count; ++i) {
      workflows.push_back(workflow("a_workflow_with_a_rather_long_name_" + std::to_string(i), [](Context&) -> Task<void> { co_return; }));
    }
    return *Registry::make(workflows, {});
  };
  const auto few = registry_of(2), many = registry_of(200), others = registry_of(201);
  EXPECT_NE(subscription_of(few).group.find("a_workflow_with_a_rather_long_name_0"), std::string::npos);
  EXPECT_LE(subscription_of(many).group.size(), 1024u);
  EXPECT_EQ(subscription_of(many).group, subscription_of(registry_of(200)).group);
  EXPECT_NE(subscription_of(many).group, subscription_of(others).group);
}

TEST(Engine, TwoVersionsOfAProgramAreTwoGroupsAndItsProcessesOne) {
  const auto registry_of = [](const std::string& name) {
    return *Registry::make({workflow(name, [](Context&) -> Task<void> { co_return; })}, {});
  };
  const auto w = registry_of("w"), long_name = registry_of(std::string(250, 'w'));
  EXPECT_EQ(subscription_of(w).group, "default/w");
  EXPECT_NE(subscription_of(w, "v1").group, subscription_of(w).group);
  EXPECT_NE(subscription_of(w, "v1").group, subscription_of(w, "v2").group);
  EXPECT_EQ(subscription_of(w, "v1").group, subscription_of(w, "v1").group);
  const std::string longest(255, 'v');
  EXPECT_NE(subscription_of(long_name, longest).group, subscription_of(long_name, longest.substr(1)).group);
  EXPECT_LE(subscription_of(long_name, longest).group.size(), 1024u);
}

class Nothing final : public Run {
 public:
  void clock(std::int64_t) override {}
  Result<void> replay(std::span<const HistoryRow>) override { return {}; }
  void left_behind(bool) override {}
  Result<void> deliver(std::span<const InboxRow>) override { return {}; }
  Result<void> seen(const std::string&, std::span<const InboxRow>, bool) override { return {}; }
  Result<void> activity_done(const ActivityOutcome&) override { return {}; }
  Output take() override { return {}; }
  [[nodiscard]] bool finished() const override { return false; }
  [[nodiscard]] std::int64_t last_seq() const override { return 0; }
  [[nodiscard]] bool stoppable(std::int32_t) const override { return false; }
  [[nodiscard]] std::string doing() const override { return {}; }
  [[nodiscard]] bool awaits(std::int32_t) const override { return false; }
  [[nodiscard]] std::vector<std::int32_t> under_way() const override { return {}; }
};

TEST(RunCache, ACopyIsTrustedOnlyForTheNextLeaseToken) {
  RunCache cache(10);
  cache.put("a", 4, std::make_unique<Nothing>());
  EXPECT_EQ(cache.take("a", 6), nullptr);  // somebody held it under token 5
  EXPECT_EQ(cache.take("a", 5), nullptr);  // and the copy is gone with that answer
  cache.put("a", 4, std::make_unique<Nothing>());
  EXPECT_NE(cache.take("a", 5), nullptr);
}

TEST(RunCache, TheLeastRecentlyUsedGoesFirstAndZeroKeepsNone) {
  RunCache cache(2);
  for (const char* id : {"a", "b", "c"}) cache.put(id, 1, std::make_unique<Nothing>());
  EXPECT_EQ(cache.size(), 2u);
  EXPECT_EQ(cache.take("a", 2), nullptr);
  EXPECT_NE(cache.take("c", 2), nullptr);
  RunCache none(0);
  none.put("a", 1, std::make_unique<Nothing>());
  EXPECT_EQ(none.size(), 0u);
}

}  // namespace
}  // namespace romancy::resumer
