// Competing channels: a message goes to exactly one of those that wait for it, whatever happens beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Channels : public Storage {
 protected:
  // Instances held by session 1 with token 1, which subscribe to 'jobs' as competing; none of them waits.
  void workers(const std::vector<std::string>& ids, const std::string& channel = "jobs") {
    a.run(start_session(1));
    for (const auto& id : ids) a.run(start(id));
    a.run(claim(1));
    std::vector<Did> runs;
    for (const auto& id : ids)
      runs.push_back({.id = id,
                      .release = false,
                      .history = {{1, 0, 1, "", "{}"}},
                      .consumed = unread(id),
                      .subscriptions = {{channel, true, 2}}});
    a.run(commit(1, runs));
    EXPECT_EQ(c.run("SELECT count(*) FROM inbox"), "0");
  }
  std::vector<std::int64_t> unread(const std::string& id) {
    std::vector<std::int64_t> ids;
    std::string rows = c.run("SELECT id FROM inbox WHERE instance_id = '" + id + "' AND NOT seen ORDER BY id");
    for (std::size_t at = 0; at < rows.size(); at = std::min(rows.find('\n', at), rows.size() - 1) + 1)
      ids.push_back(std::stoll(rows.substr(at)));
    return ids;
  }
  // It waits on 'jobs' as operation `op`, and lets go.
  static Did waits(const std::string& id, int op = 5, std::int64_t token = 1) {
    return {.id = id, .token = token, .waits = {{op, "jobs"}}};
  }
  // Who got what: "<instance>|<op>|<data>".
  std::string got() {
    return c.run("SELECT instance_id, op, data FROM inbox WHERE kind = 2 AND NOT seen ORDER BY message_id");
  }
};

TEST_F(Channels, EachMessageGoesToOneReceiverTheOldestToTheOldest) {
  workers({"i1", "i2", "i3"});
  a.run(commit(1, {waits("i2"), waits("i1", 7)}));
  c.run("SELECT publish('jobs', n::text::jsonb) FROM generate_series(1, 3) n");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 2, inbox -> 0 ->> 4")), "i1|7|2\ni2|5|1");
  EXPECT_EQ(counts({"channel_queue", "channel_waits", "pokes"}), "1|0|0") << "nobody waits for the third";
  EXPECT_EQ(c.run("SELECT * FROM channels"), "jobs|competing|3|0|1");
  a.run(commit(1, {waits("i3")}));
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 4")), "i3|3") << "the wait's poke brings the matcher";
}

TEST_F(Channels, AnEndedInstanceGivesBackWhatItDidNotRead) {
  workers({"i1", "i2"});
  a.run(commit(1, {waits("i1")}));
  c.run("SELECT publish('jobs', '\"a\"', '{\"k\": 1}')");
  EXPECT_EQ(a.run(claim(1, "instance_id")), "i1");
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .token = 2, .status = 2}})), "1|t|t|[]");
  EXPECT_EQ(c.run("SELECT channel, message_id, data, metadata FROM channel_queue"), "jobs|1|\"a\"|{\"k\": 1}");
  c.run("SELECT publish('jobs', '\"b\"')");
  a.run(commit(1, {waits("i2")}));
  EXPECT_EQ(a.run(claim(1, "inbox -> 0 ->> 4, inbox -> 0 ->> 5, inbox -> 0 ->> 6")), "a|{\"k\": 1}|1")
      << "before the later one, as it was";
  EXPECT_EQ(invariants(), "");
}

TEST_F(Channels, AMessageThatIsGivenBackGoesToTheNext) {
  workers({"i1", "i2"});
  a.run(commit(1, {waits("i1")}));
  c.run("SELECT publish('jobs', '1')");
  a.run(claim(1));
  a.run(commit(1, {waits("i2")}));
  c.run(tell("i1", "jobs"));  // a direct one is nobody else's
  std::vector<std::int64_t> all = unread("i1");
  ASSERT_EQ(all.size(), 2u);
  a.run(commit(1, {{.id = "i1", .token = 2, .release = false, .back = all}}));
  EXPECT_EQ(unread("i1"), std::vector{all[1]});
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 2")), "i2|5");
}

TEST_F(Channels, AWaitThatIsOverGetsNothing) {
  workers({"i1", "i2"});
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  a.run(commit(1, {{.id = "i1", .over = {5}}}));
  EXPECT_EQ(counts({"channel_waits"}), "0");
  a.run(commit(1, {{.id = "i2", .release = false, .waits = {{5, "jobs"}}}}));
  a.run(commit(1, {{.id = "i2", .subscriptions = {{"jobs", false}}}}));
  EXPECT_EQ(counts({"channel_waits"}), "0") << "who does not subscribe any more does not wait";
  c.run("SELECT publish('jobs', '1')");
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(counts({"channel_queue", "pokes"}), "1|0");
}

TEST_F(Channels, AWaitWithoutASubscriptionIsNotRegistered) {
  workers({"i1", "i2"});
  a.run(commit(1, {{.id = "i1", .waits = {{5, "other"}}},
                   {.id = "i2", .waits = {{5, "jobs"}}, .subscriptions = {{"jobs", false}}}}));
  EXPECT_EQ(counts({"channel_waits"}), "0");
}

class Modes : public Channels {
 protected:
  void SetUp() override {
    a.run(start_session(1));
    for (const char* id : {"i1", "i2"}) a.run(start(id));
    a.run(claim(1));
    a.run(commit(1, {{.id = "i1", .release = false, .consumed = unread("i1")},
                     {.id = "i2", .release = false, .consumed = unread("i2")}}));
  }
  std::string subscribe(const std::string& id, int mode, const std::string& channel = "x", int op = 3) {
    return "SELECT inbox FROM (" +
           commit(1, {{.id = id, .release = false, .subscriptions = {{channel, true, mode, op}}}}) + ") r";
  }
  static std::string refusal(const std::string& is, const std::string& wanted) {
    return "3, \"x\", {\"type\": \"ChannelModeConflict\", \"message\": \"channel 'x' is " + is +
           ", it cannot be subscribed to as " + wanted + "\"}";
  }
};

TEST_F(Modes, ABroadcastSubscriberOfACompetingChannelIsRefused) {
  EXPECT_EQ(a.run(subscribe("i1", 2)), "[]");
  EXPECT_THAT(a.run(subscribe("i2", 1)), HasSubstr("9, " + refusal("competing", "broadcast")));
  EXPECT_EQ(c.run("SELECT instance_id FROM subscriptions"), "i1");
}

TEST_F(Modes, ACompetingSubscriberOfABroadcastChannelIsRefused) {
  EXPECT_EQ(a.run(subscribe("i1", 1)), "[]");
  EXPECT_THAT(a.run(subscribe("i2", 2)), HasSubstr("9, " + refusal("broadcast", "competing")));
  EXPECT_THAT(a.run(subscribe("i1", 2)), HasSubstr(refusal("broadcast", "competing"))) << "nor may it compete itself";
  EXPECT_EQ(c.run("SELECT instance_id FROM subscriptions"), "i1");
  EXPECT_EQ(counts({"competing_channels"}), "0");
}

TEST_F(Modes, InOneBatchTheCompetingOneComesFirst) {
  EXPECT_THAT(a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"x", true, 1, 3}}},
                               {.id = "i2", .release = false, .subscriptions = {{"x", true, 2, 4}}}})),
              AllOf(HasSubstr("1|t|f|[["), HasSubstr(refusal("competing", "broadcast")), HasSubstr("2|t|f|[]")));
}

TEST_F(Modes, ARunThatWantsBothGetsTheFirstUnlessItLeftIt) {
  EXPECT_THAT(a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"x", true, 1, 2}, {"x", true, 2, 3}}}})),
              HasSubstr(refusal("broadcast", "competing")));
  EXPECT_EQ(a.run(commit(1, {{.id = "i2", .release = false,
                              .subscriptions = {{"y", true, 1, 2}, {"y", false}, {"y", true, 2, 3}, {"y", true, 2, 4}}}})),
            "1|t|f|[]");
  EXPECT_EQ(c.run("SELECT channel, mode, subscribers FROM channels ORDER BY 1"), "x|broadcast|1\ny|competing|1");
}

TEST_F(Modes, AnAbandonedEmptyChannelMayChange) {
  a.run(subscribe("i1", 2));
  a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"x", false}}}}));
  c.run("SELECT publish('x', '1')");
  EXPECT_THAT(a.run(subscribe("i2", 1)), HasSubstr(refusal("competing", "broadcast"))) << "a message waits there";
  c.run("DELETE FROM channel_queue");
  EXPECT_EQ(a.run("SELECT jsonb_array_length(inbox) FROM (" + subscribe("i2", 1) + ") r"), "1") << "the refusal of before";
  EXPECT_EQ(c.run("SELECT * FROM channels"), "x|broadcast|1|0|0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Modes, ASubscriberWaitsForTheOtherModesCommit) {
  b.run("BEGIN");
  b.run(subscribe("i1", 2));
  a.send(subscribe("i2", 1));
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_THAT(a.collect(), HasSubstr(refusal("competing", "broadcast")));
}

TEST_F(Modes, ACompetingSubscriberWaitsForABroadcastOnesCommit) {
  b.run("BEGIN");
  b.run(subscribe("i1", 1));
  a.send(subscribe("i2", 2));
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_THAT(a.collect(), HasSubstr(refusal("broadcast", "competing")));
  b.run("BEGIN");
  b.run(subscribe("i1", 1, "y"));
  EXPECT_EQ(a.run("SELECT jsonb_array_length(inbox) FROM (" + subscribe("i2", 1, "y") + ") r"), "1")
      << "broadcast ones do not wait for each other";
  b.run("COMMIT");
}

class Groups : public Storage {};

TEST_F(Groups, AMessageToAGroupReachesItsMembersAndNobodyElse) {
  leased("i1");
  for (const char* id : {"i2", "i3"}) a.run(start(id));
  a.run(claim(1));
  a.run(commit(1, {{.id = "i1", .release = false, .groups = {{"team", true}, {"other", true}, {"other", false}}},
                   {.id = "i2", .release = false, .groups = {{"team", true}}},
                   {.id = "i3", .release = false, .groups = {{"other", true}}}}));
  EXPECT_EQ(c.run("SELECT * FROM workflow_groups ORDER BY 1, 2"), "other|i3\nteam|i1\nteam|i2");
  EXPECT_EQ(b.run("SELECT publish_to_group('team', 'c', '1', '{\"k\": 2}')"), "1");
  EXPECT_EQ(c.run("SELECT instance_id, op, name, data, metadata FROM inbox WHERE kind = 2 ORDER BY 1"),
            "i1|0|c|1|{\"k\": 2}\ni2|0|c|1|{\"k\": 2}");
  a.run(commit(1, {{.id = "i2", .release = false, .groups = {{"team", false}}},
                   {.id = "i3", .release = false, .messages = {{"c", "2", "", "team"}}}}));
  EXPECT_EQ(c.run("SELECT instance_id FROM inbox WHERE kind = 2 AND data = '2'"), "i1");
  a.run(commit(1, {{.id = "i1", .status = 2}}));
  EXPECT_EQ(c.run("SELECT * FROM workflow_groups"), "other|i3");
  EXPECT_EQ(b.run("SELECT publish_to_group('team', 'c', '1') IS NOT NULL"), "t");
  EXPECT_EQ(invariants(), "");
}

class Recur : public Storage {
 protected:
  static Did recur(std::int64_t seq = 2) {
    return {.id = "i1", .status = 7, .history = {{seq, 0, 19, "", "{\"next\": 1}"}}};
  }
};

TEST_F(Recur, TheNextGenerationBeginsWithTheNextInputAndAnEmptyHistory) {
  leased("i1");
  a.run(commit(1, {{.id = "i1",
                    .release = false,
                    .timers = {{1, 1, 3600000000, ""}},
                    .subscriptions = {{"news", true}},
                    .groups = {{"team", true}}}}));
  EXPECT_EQ(a.run(commit(1, {recur()})), "1|t|t|[]");
  EXPECT_EQ(counts({"history", "deadlines", "subscriptions", "group_members"}), "0|0|1|1");
  EXPECT_EQ(c.run("SELECT generation, seq, kind, data FROM workflow_history_archive ORDER BY seq"),
            "0|1|started|{}\n0|2|recurred|{\"next\": 1}");
  EXPECT_EQ(c.run("SELECT status, generation, input FROM workflow_instances"), "running|1|{\"next\": 1}");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "generation, fresh, left_behind, history, inbox -> 0 -> 1, inbox -> 0 -> 4")),
            "1|f|f|[]|1|{\"next\": 1}");
  a.run(commit(1, {{.id = "i1", .token = 2, .status = 7, .history = {{1, 0, 1, "", "1"}, {2, 0, 19, "", "3"}}}}));
  EXPECT_EQ(c.run("SELECT generation, count(*) FROM history_archive GROUP BY 1 ORDER BY 1"), "0|2\n1|2");
}

TEST_F(Recur, MessagesStayAndWhatBelongedToOldOperationsGoes) {
  leased("i1");
  c.run(tell("i1", "later"));
  c.run("INSERT INTO inbox (instance_id, kind, op) SELECT 'i1', kind, 3 FROM unnest('{3,4,5,8,9}'::int[]) kind");
  a.run(commit(1, {{.id = "i1", .release = false, .seen = {2}}}));
  c.run(tell("i1", "unread"));
  c.run("SELECT cancel_workflow('i1', 'why')");
  a.run(commit(1, {recur()}));
  EXPECT_EQ(c.run("SELECT kind, name, seen FROM inbox ORDER BY id"), "2|later|t\n2|unread|f\n6||f\n1||f");
  EXPECT_EQ(a.run(claim(1, "left_behind, jsonb_array_length(inbox)")), "t|3");
}

}  // namespace
}  // namespace romancy::test
