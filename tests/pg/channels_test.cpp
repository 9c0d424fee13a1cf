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

TEST_F(Channels, AMessageSentBesideTheFirstSubscriptionsGoesToOneOrNobodyNeverToAll) {
  a.run(start_session(1));
  for (const std::string id : {"i1", "i2"}) a.run(start(id));
  a.run(claim(1));
  a.run("BEGIN; LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE");
  c.send("SELECT publish('jobs', '1')");
  c.expect_blocked();  // whatever it looked at before, it looked at when nobody competed
  a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"jobs", true, 2}}},
                   {.id = "i2", .release = false, .subscriptions = {{"jobs", true, 2}}}}));
  a.run("COMMIT");
  c.collect();
  EXPECT_EQ(got(), "");
  EXPECT_EQ(counts({"channel_queue"}), "1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Channels, AParkedInstanceGetsNothingAndWaitsAgainWhenItGoesOn) {
  workers({"i1", "i2"});
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}, waits("i2", 7)}));
  a.run(commit(1, {{.id = "i1", .status = 5, .note = "crash: 5 workers died running it"}}));
  EXPECT_EQ(c.run("SELECT waiting FROM channels"), "1");
  c.run("SELECT publish('jobs', n::text::jsonb) FROM generate_series(1, 2) n");
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 2, inbox -> 0 ->> 4")), "i2|7|1") << "the first goes past it";
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(counts({"channel_queue", "channel_waits", "pokes"}), "1|1|0") << "the second waits, and keeps nobody busy";
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(c.run("SELECT resume_workflow('i1')"), "t");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "instance_id, jsonb_path_query_array(inbox, '$[*][2]'), inbox -> 1 ->> 4")), "i1|[0, 5]|2");
  EXPECT_EQ(invariants(), "");
}

// The code is another; the message is not to blame, and others can read it.
TEST_F(Channels, WhatWasMatchedToAnInstanceThatIsParkedForAMismatchGoesToAnother) {
  workers({"i1", "i2"});
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '1'), publish('jobs', '2')");
  a.run(claim(1));
  EXPECT_EQ(got(), "i1|5|1");
  a.run(commit(1, {{.id = "i1", .status = 5, .note = "mismatch: at op 3"}}));
  EXPECT_EQ(counts({"inbox", "channel_queue", "channel_waits"}), "0|2|1");
  EXPECT_EQ(invariants(), "");
  a.run(commit(1, {waits("i2")}));
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 4")), "i2|1") << "before the later one";
  b.run(start_session(2));
  EXPECT_EQ(b.run(claim(2, "instance_id, inbox -> 1 ->> 2, inbox -> 1 ->> 4")), "i1|5|2") << "its wait is there again";
  EXPECT_EQ(invariants(), "");
}

TEST_F(Channels, AMessageThatMayHaveKilledWorkersStaysWithTheInstanceThatIsParked) {
  workers({"i1", "i2"});
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '1')");
  a.run(claim(1));
  a.run(commit(1, {{.id = "i1", .status = 5, .note = "crash: 5 workers died running it"}}));
  a.run(commit(1, {waits("i2")}));
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(got(), "i1|5|1");
  EXPECT_EQ(invariants(), "");
}

// The matcher is first: what it matched goes back, in the very commit that parks.
TEST_F(Channels, ParkingBesideAMatchWaitsForItAndLosesNothing) {
  workers({"i1", "i2"});
  b.run(start_session(2));
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '1')");
  b.run("BEGIN; " + claim(2));
  a.send(commit(1, {{.id = "i1", .status = 5, .note = "mismatch: at op 3"}}));
  a.expect_blocked();
  b.run("COMMIT");
  a.collect();
  EXPECT_EQ(counts({"channel_queue", "channel_waits"}), "1|1");
  EXPECT_EQ(invariants(), "");
  b.run(claim(2));
  EXPECT_EQ(got(), "") << "and it is not matched to what is parked";
}

// The other order: the statement that chooses waits began before one of them was parked.
class ParkedWhileChosen : public Channels {
 protected:
  std::string script() {
    workers({"i1", "i2"});
    b.run(start_session(2));
    a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
    c.run("SELECT publish('jobs', '1')");
    schema.patch("match_channels", "w.op\n                FROM channel_waits w",
                 "w.op\n                FROM (SELECT stop_at('chosen')) stop, channel_waits w");
    schema.patch("match_channels", "FOR UPDATE SKIP LOCKED) l;\n      IF least", "FOR UPDATE OF w SKIP LOCKED) l;\n      IF least");
    Gate chosen(schema, "chosen");
    b.send(claim(2));
    b.expect_blocked();
    a.run(commit(1, {{.id = "i1", .status = 5, .note = "mismatch: at op 3"}}));
    chosen.open();
    b.collect();
    return got();
  }
};

TEST_F(ParkedWhileChosen, IsLeftOut) {
  EXPECT_EQ(script(), "");
  EXPECT_EQ(counts({"channel_queue", "channel_waits"}), "1|1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(ParkedWhileChosen, BrokenALookAtTheInstanceGivesItTheMessage) {
  schema.patch("commit_runs", "UPDATE channel_waits SET parked = true WHERE instance_id = ANY (v_parked);",
               "PERFORM FROM channel_waits w WHERE w.instance_id = ANY (v_parked) FOR UPDATE;");
  schema.patch("match_channels", "AND NOT w.parked\n               ORDER BY w.id",
               "AND (SELECT i.status FROM instances i WHERE i.instance_id = w.instance_id) <> 5\n               ORDER BY w.id");
  EXPECT_EQ(script(), "i1|5|1");
}

// Two matchers of one channel at once. Session 2's claim stands where it has chosen messages and no waits yet; the claim
// of session 3 does not stop.
class MatchedByTwo : public Channels {
 protected:
  // The first message is left to the first matcher, the second is published before the second one looks.
  std::string script(const std::string& publish_first, const std::string& publish_second) {
    workers({"i1"});
    b.run(start_session(2));
    c.run(start_session(3));
    copy("match_channels", "plain_match");
    copy("claim_runs", "plain_claim");
    schema.patch("plain_claim", "FROM match_channels(", "FROM plain_match(");
    const std::string waits = "SELECT array_agg(l.place ORDER BY l.id), array_agg(l.instance_id";
    schema.patch("match_channels", waits, "PERFORM stop_at('chosen');\n      " + waits);
    a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
    c.run(publish_first);
    Gate chosen(schema, "chosen");
    b.send(claim(2));
    b.expect_blocked();
    c.run(publish_second);
    c.run(plain_claim(claim(3)));
    chosen.open();
    b.collect();
    c.run(plain_claim(claim(3)));  // who skipped comes back
    EXPECT_EQ(counts({"channel_queue", "channel_waits", "deferred_messages"}), "1|0|0");
    EXPECT_EQ(invariants(), "");
    return got();
  }
  static std::string plain_claim(std::string sql) { return sql.replace(sql.find("claim_runs"), 10, "plain_claim"); }
  void without_the_lock() {
    schema.patch("match_channels", "IF NOT pg_try_advisory_xact_lock(v_class, hashtext(v_channel)) THEN", "IF false THEN");
  }
  static std::string publish(const std::string& data) { return "SELECT publish('jobs', '" + data + "')"; }
  static std::string deferred(const std::string& data) {
    return "BEGIN ISOLATION LEVEL REPEATABLE READ; " + publish(data) + "; COMMIT";
  }

 private:
  void copy(const std::string& function, const std::string& name) {
    std::string text = c.run("SELECT pg_get_functiondef('" + function + "'::regproc)");
    c.run(text.replace(text.find(function + "("), function.size(), name));
  }
};

TEST_F(MatchedByTwo, AReceiverGetsTheOlderMessageFirst) {
  EXPECT_EQ(script(publish("1"), publish("2")), "i1|5|1");
}

TEST_F(MatchedByTwo, AReceiverGetsTheOlderOfTwoDeferredMessagesFirst) {
  EXPECT_EQ(script(deferred("1"), deferred("2")), "i1|5|1");
}

TEST_F(MatchedByTwo, BrokenRowLocksAloneLetTheYoungerMessagePass) {
  without_the_lock();
  EXPECT_EQ(script(publish("1"), publish("2")), "i1|5|2");
}

TEST_F(MatchedByTwo, BrokenRowLocksAloneLetTheYoungerOfTwoDeferredMessagesPass) {
  without_the_lock();
  EXPECT_EQ(script(deferred("1"), deferred("2")), "i1|5|2");
}

// The hint for a channel names an instance only to choose one member of each program; a match hints whom it cannot lease.
TEST_F(Channels, HintsNameTheChannelAndThenWhoGotTheMessage) {
  c.run("SELECT declare_channel('jobs', 'competing')");
  Step ear(schema);
  ear.run("LISTEN " + schema.name() + "_workflow_resumable");
  const auto heard = [&] {
    std::string all;
    for (const auto& [channel, payload] : ear.notifications()) all += payload + "\n";
    return all;
  };
  c.run("SELECT publish('jobs', '1')");
  EXPECT_EQ(heard(), "{\"channel_name\": \"jobs\"}\n") << "nobody is there: everybody looks, should somebody be about to come";
  workers({"i1", "i2"});
  heard();
  c.run("SELECT publish('jobs', '2')");
  EXPECT_THAT(heard(), testing::AnyOf("{\"instance_id\": \"i1\", \"channel_name\": \"jobs\"}\n",
                                     "{\"instance_id\": \"i2\", \"channel_name\": \"jobs\"}\n"))
      << "one who subscribes";
  a.run(commit(1, {waits("i2")}));
  EXPECT_EQ(heard(), "") << "who waits looks himself";
  a.run(claim(1));
  EXPECT_EQ(heard(), "") << "matched and leased by one claim";
  c.run("SELECT start_workflow('other', '{}', 'o1')");
  b.run("SELECT * FROM start_session(2, 'b', 'resumer', '{default}', '{other}', '1 hour', '{}')");
  const std::string first = b.run("SELECT inbox -> 0 -> 0 FROM claim_runs(2, ARRAY[route_id('default', 'other')], '{0}', 10, 10) "
                                  "WHERE instance_id IS NOT NULL");
  b.run(commit(2, {{.id = "o1", .consumed = {std::stoll(first)}, .waits = {{5, "jobs"}}, .subscriptions = {{"jobs", true, 2}}}}));
  heard();
  EXPECT_EQ(a.run(claim(1)), "") << "an instance that this worker cannot run";
  EXPECT_EQ(heard(), "{\"instance_id\": \"o1\", \"workflow_name\": \"other\"}\n");
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '3')");
  EXPECT_EQ(heard(), "{\"instance_id\": \"i1\", \"channel_name\": \"jobs\"}\n") << "one who waits";
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(heard(), "{\"workflow_name\": \"w\", \"leased_instance_id\": \"i1\"}\n") << "its holder has to look";
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

// What happens beside a match. The matcher is session 2's claim, stopped after it paired and before it locks instances.
class Matching : public Channels {
 protected:
  void SetUp() override {
    std::string text = c.run("SELECT pg_get_functiondef('claim_runs'::regproc)");
    c.run(text.replace(text.find("claim_runs("), 11, "plain_claim("));  // one that does not stop
    schema.patch("claim_runs", "v_size := least(v_want, c_most_at_once);\n  WHILE",
                 "PERFORM stop_at('matched');\n  v_size := least(v_want, c_most_at_once);\n  WHILE");
    workers({"i1", "i2"});
    b.run(start_session(2));
  }
  // What session 2's claim says in the end, after `beside` was done while it stood.
  template <class Beside>
  std::string matched(const std::string& sql, Beside beside) {
    Gate gate(schema, "matched");
    b.send(sql);
    b.expect_blocked();
    beside();
    gate.open();
    return b.collect();
  }
  std::string total() {
    return c.run("SELECT (SELECT count(*) FROM channel_queue) + (SELECT count(*) FROM inbox WHERE kind = 2)");
  }
};

TEST_F(Matching, AReceiverThatFinishesMeanwhileGivesTheMessageBack) {
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '\"a\"')");
  EXPECT_EQ(matched(claim(2), [&] {
              a.send(commit(1, {{.id = "i1", .status = 2}}));
              a.expect_blocked();
            }),
            "");
  EXPECT_EQ(a.collect(), "1|t|t|[]");
  EXPECT_EQ(total(), "1");
  EXPECT_EQ(invariants(), "");
  a.run(commit(1, {waits("i2")}));
  EXPECT_EQ(b.run(claim(2, "instance_id, inbox -> 0 ->> 4")), "i2|a");
  EXPECT_EQ(total(), "1");
  EXPECT_EQ(counts({"pokes"}), "0");
}

TEST_F(Matching, BrokenAnEndThatLooksBeforeItDeletedItsWaitsLeavesTheMessageToTheDead) {
  schema.patch("commit_runs", "DELETE FROM channel_waits WHERE instance_id = ANY (v_ended);\n      PERFORM clear_inbox(v_ended);",
               "PERFORM clear_inbox(v_ended);\n      DELETE FROM channel_waits WHERE instance_id = ANY (v_ended);");
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '1')");
  matched(claim(2), [&] {
    a.send(commit(1, {{.id = "i1", .status = 2}}));
    a.expect_blocked();
  });
  a.collect();
  EXPECT_EQ(counts({"channel_queue", "inbox"}), "0|1") << "until a claim clears it";
}

TEST_F(Matching, AWaitThatIsGivenUpMeanwhileBringsItsMessageToTheRun) {
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  c.run("SELECT publish('jobs', '\"a\"')");
  matched(claim(2), [&] {
    a.send(commit(1, {{.id = "i1", .over = {5}}}));
    a.expect_blocked();
  });
  EXPECT_THAT(a.collect(), AllOf(StartsWith("1|t|f|"), HasSubstr("2, 5, \"jobs\", \"a\"")))
      << "the run keeps its lease, and gives it back";
  EXPECT_EQ(a.run(commit(1, {{.id = "i1", .back = unread("i1")}})), "1|t|t|[]");
  EXPECT_EQ(counts({"channel_queue", "inbox"}), "1|0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Matching, AMatchSkipsAWaitThatIsBeingGivenUpAndComesBack) {
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  a.run("BEGIN");
  a.run(commit(1, {{.id = "i1", .over = {5}}}));
  c.run("SELECT publish('jobs', '1')");
  EXPECT_EQ(b.run(claim_summary(2, "skipped")), "1");
  a.run("ROLLBACK");
  EXPECT_EQ(invariants(), "");
  a.run(commit(1, {{.id = "i1"}}));
  EXPECT_EQ(b.run(claim(2)), "i1|2");
}

TEST_F(Matching, BrokenAMatchThatForgetsWhatItSkippedLosesTheMessage) {
  schema.patch("match_channels",
               "v_got := least(coalesce(cardinality(v_rows), 0), coalesce(cardinality(v_waits), 0));\n"
               "        skipped := skipped + 1;\n        v_again := v_again || v_channel;",
               "v_got := least(coalesce(cardinality(v_rows), 0), coalesce(cardinality(v_waits), 0));");
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}}}));
  a.run("BEGIN");
  a.run(commit(1, {{.id = "i1", .over = {5}}}));
  c.run("SELECT publish('jobs', '1')");
  b.run(claim(2));
  a.run("ROLLBACK");
  EXPECT_THAT(invariants(), StartsWith("I6"));
}

TEST_F(Matching, AMatcherThatDiesHasDoneNothing) {
  a.run(commit(1, {waits("i1")}));
  c.run("SELECT publish('jobs', '1')");
  b.run("BEGIN");
  EXPECT_EQ(b.run(claim(2)), "i1|2");
  EXPECT_EQ(a.run(claim_summary(1, "skipped")), "0") << "its pokes are in the other's hand";
  b.disconnect();
  c.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = " + std::to_string(b.pid()));
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(counts({"channel_queue", "channel_waits"}), "1|1");
  EXPECT_EQ(a.run(claim(1)), "i1|2");
}

TEST_F(Matching, AMatcherLeavesAChannelToTheOneThatHasItAndComesBack) {
  a.run(commit(1, {waits("i1"), waits("i2")}));
  c.run("SELECT publish('jobs', '1')");
  c.run(start_session(3));
  EXPECT_EQ(matched(claim(2), [&] {
              c.run("SELECT publish('jobs', '2')");
              std::string beside = claim_summary(3, "skipped");
              EXPECT_EQ(c.run(beside.replace(beside.find("claim_runs"), 10, "plain_claim")), "1");
            }),
            "i1|2");
  EXPECT_EQ(b.run(claim(2)), "i2|2");
  EXPECT_EQ(got(), "i1|5|1\ni2|5|2");
}

TEST_F(Matching, WhoWaitsInSeveralPlacesMayGetSeveral) {
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}, {6, "jobs"}}}}));
  c.run("SELECT publish('jobs', n::text::jsonb) FROM generate_series(1, 3) n");
  b.run(claim(2));
  EXPECT_EQ(got(), "i1|5|1\ni1|6|2");
  EXPECT_THAT(a.run(commit(1, {{.id = "i1"}})), StartsWith("1|t|f|")) << "the holder finds them";
}

TEST_F(Matching, MoreThanOneLookHandlesComesWithTheNext) {
  a.run(commit(1, {{.id = "i1", .release = false}}));
  std::vector<Did::Wait> many;
  for (int op = 1; op <= 300; ++op) many.push_back({op, "jobs"});
  a.run(commit(1, {{.id = "i1", .release = false, .waits = many}}));
  c.run("SELECT count(publish('jobs', '1')) FROM generate_series(1, 300) n");
  EXPECT_EQ(b.run(claim_summary(2, "more")), "true");
  EXPECT_EQ(invariants(), "");
  b.run(claim(2));
  EXPECT_EQ(counts({"channel_queue", "channel_waits"}), "0|0");
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

TEST_F(Modes, AMessageOnItsWayToAQueueThatIsNoneAnyMoreGoesToTheSubscribers) {
  a.run(subscribe("i1", 2));
  a.run(commit(1, {{.id = "i1", .release = false, .subscriptions = {{"x", false}}}}));
  b.run("BEGIN; SELECT publish('x', '\"late\"')");
  Step other(schema);
  other.run("BEGIN");
  other.run(subscribe("i2", 1));  // the channel is abandoned, and empty for all it can see
  b.run("COMMIT");
  c.run(start_session(2));
  c.run(claim(2));  // takes the publisher's poke, and still sees a competing channel
  other.run("COMMIT");
  EXPECT_EQ(invariants(), "");
  c.run(claim(2));
  EXPECT_EQ(c.run("SELECT instance_id, op, data FROM inbox WHERE kind = 2"), "i2|0|\"late\"");
  EXPECT_EQ(counts({"channel_queue"}), "0");
}

TEST_F(Modes, ADeclaredChannelKeepsMessagesForItsFirstReceiver) {
  c.run("SELECT declare_channel('x', 'competing'), declare_channel('x', 'competing')");
  EXPECT_EQ(c.run("SELECT publish('x', '1')"), "1");
  EXPECT_EQ(c.run("SELECT * FROM channels"), "x|competing|0|0|1");
  EXPECT_EQ(c.error("SELECT declare_channel('x', 'broadcast')"), "55000 channel: 'x' is competing, and in use");
  EXPECT_THAT(a.run(subscribe("i2", 1)), HasSubstr(refusal("competing", "broadcast")));
  EXPECT_EQ(a.run(subscribe("i1", 2)), "[]");
  a.run(commit(1, {{.id = "i1", .waits = {{5, "x"}}}}));
  EXPECT_EQ(a.run(claim(1, "instance_id, inbox -> 0 ->> 4")), "i1|1");
}

TEST_F(Modes, ADeclarationOfAChannelInUseIsRefused) {
  a.run(subscribe("i1", 1));
  EXPECT_EQ(c.error("SELECT declare_channel('x', 'competing')"), "55000 channel: 'x' is broadcast, and in use");
  EXPECT_EQ(c.error("SELECT declare_channel('x', 'odd')"), "22023 mode: must be broadcast or competing, not 'odd'");
  EXPECT_EQ(c.error("SELECT declare_channel('', 'competing')"), "22023 channel: must not be empty");
  c.run("SELECT declare_channel('y', 'competing'), declare_channel('y', 'broadcast')");
  EXPECT_EQ(counts({"competing_channels"}), "0");
}

TEST_F(Modes, AnOpenDeclarationHoldsUpNobodyAndWhatDependsOnItIsRefused) {
  b.run("BEGIN; SELECT declare_channel('x', 'competing')");
  EXPECT_THAT(a.run(subscribe("i1", 1)), HasSubstr("ChannelModeConflict"));
  EXPECT_EQ(a.run(subscribe("i2", 2)), "[]");
  a.run(commit(1, {{.id = "i2", .release = false, .subscriptions = {{"other", true}}}}));
  b.run("COMMIT");
  EXPECT_EQ(c.run("SELECT channel, mode, subscribers FROM channels ORDER BY 1"), "other|broadcast|1\nx|competing|1");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Modes, ADeclarationWaitsForACommitThatSubscribes) {
  a.run("BEGIN");
  a.run(subscribe("i1", 1));
  b.send("SELECT declare_channel('x', 'competing')");
  b.expect_blocked();
  a.run("COMMIT");
  EXPECT_EQ(b.collect_error(), "55000 channel: 'x' is broadcast, and in use");
  a.run(subscribe("i2", 1, "z"));  // and the lock it waited for is gone
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

TEST_F(Groups, WhoJoinsWhileAMessageIsOnItsWayGetsItOrNot) {
  leased("i1");
  b.run("BEGIN; SELECT publish_to_group('team', 'c', '\"before\"')");
  a.run("BEGIN");
  a.run(commit(1, {{.id = "i1", .release = false, .groups = {{"team", true}}}}));
  b.run("COMMIT");
  a.run("COMMIT");
  EXPECT_EQ(counts({"inbox"}), "0") << "it had not joined when that statement looked";
  b.run("SELECT publish_to_group('team', 'c', '1')");
  a.run("BEGIN");
  a.run(commit(1, {{.id = "i1", .release = false, .groups = {{"team", false}}}}));
  b.run("SELECT publish_to_group('team', 'c', '2')");
  a.run("COMMIT");
  b.run("SELECT publish_to_group('team', 'c', '3')");
  EXPECT_EQ(c.run("SELECT string_agg(data::text, ' ' ORDER BY id) FROM inbox"), "1 2") << "it was still in";
  EXPECT_EQ(invariants(), "");
}

TEST_F(Groups, AMemberThatFinishesMeanwhileLeavesNothing) {
  leased("i1");
  a.run(commit(1, {{.id = "i1", .release = false, .groups = {{"team", true}}}}));
  b.run("BEGIN; SELECT publish_to_group('team', 'c', '1')");
  a.run(commit(1, {{.id = "i1", .status = 2}}));
  b.run("COMMIT");
  EXPECT_EQ(a.run(claim(1)), "");
  EXPECT_EQ(counts({"inbox", "pokes", "group_members"}), "0|0|0");
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

TEST_F(Recur, ATimerThatFiresMeanwhileDoesNotReachTheNextGeneration) {
  leased("i1");
  a.run(commit(1, {{.id = "i1", .release = false, .timers = {{1, 1, 0, ""}, {2, 1, 3600000000, ""}}}}));
  b.run("BEGIN; SELECT * FROM fire_timers('{1}', 10)");
  a.send(commit(1, {recur()}));
  a.expect_blocked();
  b.run("COMMIT");
  EXPECT_EQ(a.collect(), "1|t|t|[]");
  EXPECT_EQ(c.run("SELECT kind FROM inbox"), "1") << "only its start";
  EXPECT_EQ(counts({"deadlines"}), "0");
}

TEST_F(Recur, BrokenACommitThatClearsTheInboxFirstHandsTheTimerToTheNextGeneration) {
  schema.patch("commit_runs", "DELETE FROM deadlines WHERE instance_id = ANY (v_recurred);", "");
  schema.patch("commit_runs", "INSERT INTO inbox (instance_id, kind, op, data)\n      SELECT ids[x.run], 1",
               "DELETE FROM deadlines WHERE instance_id = ANY (v_recurred);\n"
               "      INSERT INTO inbox (instance_id, kind, op, data)\n      SELECT ids[x.run], 1");
  leased("i1");
  a.run(commit(1, {{.id = "i1", .release = false, .timers = {{1, 1, 0, ""}}}}));
  b.run("BEGIN; SELECT * FROM fire_timers('{1}', 10)");
  a.send(commit(1, {recur()}));
  a.expect_blocked();
  b.run("COMMIT");
  a.collect();
  EXPECT_EQ(c.run("SELECT kind FROM inbox ORDER BY id"), "3\n1");
}

TEST_F(Recur, ACancelMeanwhileReachesTheNextGeneration) {
  leased("i1");
  b.run("BEGIN; SELECT cancel_workflow('i1', 'why')");
  EXPECT_EQ(a.run(commit(1, {recur()})), "1|t|t|[]");
  b.run("COMMIT");
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(a.run(claim(1, "generation, inbox -> 0 -> 1, inbox -> 1 -> 1")), "1|6|1");
}

TEST_F(Recur, AWaitForACompetingMessageDoesNotOutliveItsGeneration) {
  leased("i1");
  a.run(commit(1, {{.id = "i1", .release = false, .waits = {{5, "jobs"}}, .subscriptions = {{"jobs", true, 2}}}}));
  a.run(commit(1, {recur()}));
  EXPECT_EQ(counts({"channel_waits", "subscriptions"}), "0|1");
  c.run("SELECT publish('jobs', '1')");
  EXPECT_EQ(a.run(claim(1, "jsonb_array_length(inbox)")), "1");
  EXPECT_EQ(counts({"channel_queue"}), "1");
}

TEST_F(Recur, AStaleLeaseArchivesNothing) {
  leased("i1");
  auto run = recur();
  run.token = 7;
  EXPECT_EQ(a.run(commit(1, {run})), "1|f|f|[]");
  EXPECT_EQ(counts({"history", "history_archive", "pokes"}), "1|0|0");
}

}  // namespace
}  // namespace romancy::test
