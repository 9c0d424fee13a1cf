// Channels: each message of a competing one to exactly one consumer; groups; events by type; every isolation level; bytes.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using testing::UnorderedElementsAreArray;

class Competitions : public Scenario {
 protected:
  void expect_waiting(const std::string& channel, int consumers) {
    EXPECT_TRUE(eventually([&] { return count("SELECT waiting FROM channels WHERE channel = $1", pg::Params(channel)) == consumers; }))
        << one("SELECT channels::text FROM channels WHERE channel = $1", pg::Params(channel));
  }
  std::vector<std::string> consumers(int number) {
    std::vector<std::string> ids;
    for (int i = 0; i < number; ++i) ids.push_back(start("consumer", mine("jobs"), "c" + std::to_string(i)));
    expect_waiting(mine("jobs"), number);
    return ids;
  }
  // Each consumer is told to stop; all jobs they did, sorted.
  std::vector<int> stop(const std::vector<std::string>& ids) {
    for (std::size_t i = 0; i < ids.size(); ++i) broadcast(mine("jobs"), "stop");
    std::vector<int> all;
    for (const auto& id : ids) {
      expect_status(id, "completed");
      for (const auto& job : output(id)) all.push_back(job.get<int>());
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  static std::vector<int> numbers(int number) {
    std::vector<int> all;
    for (int i = 0; i < number; ++i) all.push_back(i);
    return all;
  }
};
ROMANCY_THEME(Competing, Competitions);

TEST_P(Competing, EachMessageGoesToOneConsumer) {
  const auto ids = consumers(4);
  for (int i = 0; i < 40; ++i) broadcast(mine("jobs"), i);
  EXPECT_EQ(stop(ids), numbers(40));
  EXPECT_EQ(count("SELECT count(*) FROM effects WHERE instance_id ^@ $1", pg::Params(prefix())), 40);
}

TEST_P(Competing, MessagesThatNobodyWaitsForAreKept) {
  sql("SELECT declare_channel($1, 'competing')", pg::Params(mine("jobs")));
  for (int i = 0; i < 10; ++i) broadcast(mine("jobs"), i);
  EXPECT_EQ(count("SELECT queued FROM channels WHERE channel = $1", pg::Params(mine("jobs"))), 10);
  const auto id = start("consumer", mine("jobs"));
  ASSERT_TRUE(eventually([&] { return effects(id).size() == 10; })) << story(id);
  EXPECT_EQ(stop({id}), numbers(10));
}

TEST_P(Competing, OneConsumerTakesThemInOrder) {
  const auto ids = consumers(1);
  for (int i = 0; i < 30; ++i) broadcast(mine("jobs"), i);
  broadcast(mine("jobs"), "stop");
  expect_completed(ids[0], numbers(30));
}

TEST_P(Competing, AConsumerThatTimesOutLosesNoMessage) {
  const auto hurried = start("impatient_consumer", mine("jobs"), "hurried");
  expect_completed(hurried, "nothing");
  const auto ids = consumers(1);
  broadcast(mine("jobs"), 1);
  EXPECT_EQ(stop(ids), std::vector<int>{1});
}

TEST_P(Competing, MessagesAndTimeOutsAtTheSameMomentLoseNothing) {
  for (int i = 0; i < 10; ++i) start("impatient_consumer", mine("jobs"), std::to_string(i));
  for (int i = 0; i < 10; ++i) broadcast(mine("jobs"), i);
  std::vector<int> got;
  for (int i = 0; i < 10; ++i) {
    const auto id = mine(std::to_string(i));
    expect_status(id, "completed");
    if (output(id).is_number()) got.push_back(output(id).get<int>());
  }
  // The first broadcasts may have come before the channel had a mode, to nobody. No two got the same one.
  std::sort(got.begin(), got.end());
  EXPECT_TRUE(std::adjacent_find(got.begin(), got.end()) == got.end());
  const auto left = count("SELECT coalesce(max(queued), 0) FROM channels WHERE channel = $1", pg::Params(mine("jobs")));
  EXPECT_LE(left + static_cast<std::int64_t>(got.size()), 10);
}

TEST_P(Competing, ACancelledConsumersMessagesGoToTheOthers) {
  const auto ids = consumers(3);
  cancel(ids[0]);
  for (int i = 0; i < 12; ++i) broadcast(mine("jobs"), i);
  expect_cancelled(ids[0]);
  std::vector<int> all = stop({ids[1], ids[2]});
  // What the cancelled one had done before it ended, and nothing else, may be missing with the others.
  for (const auto& what : effects(ids[0])) all.push_back(std::stoi(what.substr(4)));
  EXPECT_THAT(all, UnorderedElementsAreArray(numbers(12)));
}

TEST_P(Competing, TheOtherModeIsAConflict) {
  const auto first = start("subscribes_as", {{"channel", mine("x")}, {"competing", true}}, "first");
  expect_waiting(mine("x"), 1);
  expect_completed(start("subscribes_as", {{"channel", mine("x")}, {"competing", false}}, "second"), "conflict on " + mine("x"));
  broadcast(mine("x"), 1);
  expect_completed(first, "1");
}

TEST_P(Competing, AnUnusedChannelMayChangeItsMode) {
  const auto first = start("subscribes_as", {{"channel", mine("x")}, {"competing", true}}, "first");
  expect_waiting(mine("x"), 1);
  broadcast(mine("x"), 1);
  expect_completed(first, "1");
  const auto second = start("subscribes_as", {{"channel", mine("x")}, {"competing", false}}, "second");
  expect_at_rest(second);
  broadcast(mine("x"), 2);
  expect_completed(second, "2");
}

TEST_P(Competing, AWorkflowsMessagesCompeteToo) {
  const auto ids = consumers(2);
  expect_completed(start("producer", {{"channel", mine("jobs")}, {"competing", true}}, "producer"));
  EXPECT_EQ(stop(ids), numbers(5));
}

// ---------------------------------------------------------------------------------------------------- events and groups

THEME(Events);

TEST_P(Events, AnEventWakesWhoWaitsForItsType) {
  const auto id = start("awaits_event", mine("order.created"));
  expect_at_rest(id);
  broadcast(mine("order.created"), {{"order", 1}});
  expect_completed(id, {{"order", 1}});
}

TEST_P(Events, AnEventForOneInstanceWakesItToo) {
  const auto id = start("awaits_event", mine("order.created"));
  publish(id, mine("order.created"), "for you");
  expect_completed(id, "for you");
}

TEST_P(Events, OneThatDoesNotComeFailsTheWorkflow) {
  EXPECT_THAT(expect_failed(start("awaits_event_briefly", mine("never"))).at("type").get<std::string>(), HasSubstr("TimedOut"));
}

THEME(Groups);

TEST_P(Groups, AMessageToAGroupReachesEveryMember) {
  for (const char* name : {"a", "b", "c"}) expect_at_rest(start("member", mine("crew"), name));
  EXPECT_EQ(count("SELECT count(*) FROM workflow_groups WHERE group_name = $1", pg::Params(mine("crew"))), 3);
  sql("SELECT publish_to_group($1, 'all hands', '1')", pg::Params(mine("crew")));
  for (const char* name : {"a", "b", "c"}) publish(mine(name), "bye", 2);
  for (const char* name : {"a", "b", "c"}) expect_completed(mine(name), {1, 2});
}

TEST_P(Groups, WhoLeftHearsNothingMore) {
  const auto id = start("member", mine("crew"));
  expect_at_rest(id);
  sql("SELECT publish_to_group($1, 'all hands', '1')", pg::Params(mine("crew")));
  ASSERT_TRUE(eventually([&] { return count("SELECT count(*) FROM workflow_groups WHERE group_name = $1", pg::Params(mine("crew"))) == 0; }));
  sql("SELECT publish_to_group($1, 'bye', '\"group\"')", pg::Params(mine("crew")));
  publish(id, "bye", "direct");
  expect_completed(id, {1, "direct"});
}

TEST_P(Groups, FinishedMembersAreNoMembers) {
  const auto id = start("member", mine("crew"));
  expect_at_rest(id);
  cancel(id);
  expect_cancelled(id);
  EXPECT_EQ(count("SELECT count(*) FROM workflow_groups WHERE group_name = $1", pg::Params(mine("crew"))), 0);
}

TEST_P(Groups, TheMembersAreThoseOfTheMomentAndReplaysSeeTheSame) {
  const auto other = start("member", mine("crew"), "b");
  expect_at_rest(other);
  const auto id = start("census", mine("crew"), "a");
  expect_at_rest(id);
  cancel(other);
  expect_cancelled(other);
  const auto late = start("member", mine("crew"), "c");
  expect_at_rest(late);
  publish(id, "again", 1);
  expect_completed(id, {{id, other}, {id, late}, {late}});
  cancel(late);
  expect_cancelled(late);
}

TEST_P(Groups, WhoJoinsAndLeavesWhileOthersCountIsCountedOrNot) {
  for (int i = 0; i < 8; ++i) start(i % 2 == 0 ? "census" : "member", mine("crew"), std::to_string(i));
  for (int i = 0; i < 8; i += 2) publish(mine(std::to_string(i)), "again", 1);
  for (int i = 1; i < 8; i += 2) cancel(mine(std::to_string(i)));
  for (int i = 0; i < 8; i += 2) {
    const auto id = mine(std::to_string(i));
    expect_status(id, "completed");
    const Json counted = output(id);
    for (const int look : {0, 1}) EXPECT_THAT(counted[look].get<std::vector<std::string>>(), testing::Contains(id));
    EXPECT_THAT(counted[2].get<std::vector<std::string>>(), testing::Not(testing::Contains(id)));
  }
  for (int i = 1; i < 8; i += 2) expect_cancelled(mine(std::to_string(i)));
  EXPECT_EQ(count("SELECT count(*) FROM workflow_groups WHERE group_name = $1", pg::Params(mine("crew"))), 0);
}

TEST_P(Groups, AWorkflowSpeaksToThem) {
  std::vector<std::string> ids;
  for (const char* name : {"a", "b"}) ids.push_back(start("member", mine("crew"), name));
  for (const auto& id : ids) expect_at_rest(id);
  expect_completed(start("speaks_to_group", mine("crew"), "z"));
  for (const auto& id : ids) publish(id, "bye", 8);
  for (const auto& id : ids) expect_completed(id, {7, 8});
}

// ---------------------------------------------------------------------------------------------------- the user's transactions

THEME(Isolation);

TEST_P(Isolation, StartPublishAndCancelWorkInEveryLevel) {
  for (const char* level : {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}) {
    const std::string name = std::string(level) == "READ COMMITTED" ? "rc" : std::string(level) == "SERIALIZABLE" ? "ser" : "rr";
    const auto waits = start("waits", nullptr, name + "-waits");
    expect_at_rest(waits);
    sql(std::string("BEGIN ISOLATION LEVEL ") + level);
    const auto box = start("mailbox", 1, name + "-box");
    publish(box, "mail", name);
    cancel(waits);
    sql("COMMIT");
    expect_completed(box, {name});
    expect_cancelled(waits);
  }
}

TEST_P(Isolation, AMessageOfAnOldSnapshotReachesWhoSubscribedMeanwhile) {
  const auto old = another();
  old->sql("BEGIN ISOLATION LEVEL REPEATABLE READ");
  old->count("SELECT count(*) FROM workflow_instances");  // takes the snapshot
  const auto id = start("subscriber", {{"channel", mine("news")}, {"messages", 1}});
  expect_at_rest(id);
  old->broadcast(mine("news"), "from the past");
  old->sql("COMMIT");
  expect_completed(id, {"from the past"});
}

TEST_P(Isolation, AnOpenTransactionHoldsUpNobody) {
  const auto other = another();
  other->sql("BEGIN");
  const auto id = start("mailbox", 2);
  other->publish(id, "mail", "of the open one");
  publish(id, "mail", "first");
  ASSERT_TRUE(eventually([&] { return history_count(id, "message_received") == 1; })) << story(id);
  expect_completed(start("one_step", "meanwhile", "b"), "meanwhile");
  other->sql("COMMIT");
  expect_completed(id, {"first", "of the open one"});
}

TEST_P(Isolation, ASavepointThatIsRolledBackTakesItsMessageWithIt) {
  const auto id = start("mailbox", 1);
  sql("BEGIN");
  sql("SAVEPOINT s");
  publish(id, "mail", "never");
  sql("ROLLBACK TO SAVEPOINT s");
  publish(id, "mail", "sent");
  sql("COMMIT");
  expect_completed(id, {"sent"});
}

// -------------------------------------------------------------------------------------------------------------- binary

THEME(Binary);

TEST_P(Binary, BytesTravelAsInputMessageAndOutput) {
  const auto id = one("SELECT start_workflow('turns_bytes', binary('\\x0001ff'::bytea), $1)", pg::Params(mine("a")));
  expect_at_rest(id);
  sql("SELECT publish('bytes', binary('\\x80fe'::bytea), target_instance_id => $1)", pg::Params(id));
  expect_status(id, "completed");
  EXPECT_EQ(one("SELECT encode(binary(output), 'hex') FROM workflow_result($1)", pg::Params(id)), "fe80ff0100");
}

TEST_P(Binary, AMegabyteOfBytes) {
  const auto id = one("SELECT start_workflow('turns_bytes', binary(decode(repeat('00ff', 500000), 'hex')), $1)", pg::Params(mine("a")));
  sql("SELECT publish('bytes', binary(''::bytea), target_instance_id => $1)", pg::Params(id));
  expect_status(id, "completed");
  EXPECT_EQ(count("SELECT octet_length(binary(output)) FROM workflow_result($1)", pg::Params(id)), 1'000'000);
}

TEST_P(Binary, EveryByteComesFromAWorkflowToSqlAndToAnotherWorkflow) {
  const std::string all = "(SELECT string_agg(set_byte('\\x00', 0, n), '' ORDER BY n) FROM generate_series(0, 255) n)";
  const auto box = one("SELECT start_workflow('turns_bytes', binary('\\x'::bytea), $1)", pg::Params(mine("box")));
  expect_completed(start("sends_bytes", box, "sender"));
  EXPECT_EQ(one("SELECT binary(data) = " + all + " FROM outbox_events WHERE event_source = $1", pg::Params("scenario/" + mine("sender"))), "t");
  expect_status(box, "completed");
  EXPECT_EQ(one("SELECT binary(output) = (SELECT string_agg(set_byte('\\x00', 0, n), '' ORDER BY n DESC) FROM generate_series(0, 255) n) "
                "FROM workflow_result($1)", pg::Params(box)), "t");
}

TEST_P(Binary, ActivitiesTakeAndGiveThem) {
  const auto id = one("SELECT start_workflow('bytes_through_activity', binary('\\x0001ff'::bytea), $1)", pg::Params(mine("a")));
  expect_status(id, "completed");
  EXPECT_EQ(one("SELECT encode(binary(output), 'hex') FROM workflow_result($1)", pg::Params(id)), "ff0100");
}

TEST_P(Binary, WhatIsNoSuchValueIsRefusedByNameInSql) {
  for (const char* value : {"1", "\"text\"", "{}", "{\"$binary\": 7}", "{\"$binary\": \"AA==\", \"more\": 1}", "{\"$binary\": \"A\"}"}) {
    EXPECT_THAT(refused("SELECT binary($1::jsonb)", pg::Params(value)), HasSubstr("22023 ")) << value;
  }
}

TEST_P(Binary, WhatIsNoBase64FailsByName) {
  const auto id = start("turns_bytes", {{"$binary", "not base64!"}});
  EXPECT_THAT(expect_failed(id).at("message").get<std::string>(), StartsWith("input: $binary: is not base64"));
}

}  // namespace
}  // namespace romancy::test
