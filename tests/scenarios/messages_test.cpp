// Messages: nothing is lost, doubled, or taken out of order, whenever it comes and whoever sends it.
#include <set>

#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Json numbers(int count) {
  Json all = Json::array();
  for (int i = 0; i < count; ++i) all.push_back(i);
  return all;
}

// -------------------------------------------------------------------------------------------------------------- direct

THEME(Direct);

TEST_P(Direct, AMessageReachesTheOneItIsFor) {
  const auto id = start("mailbox", 1), other = start("mailbox", 1, "other");
  expect_at_rest(id);
  expect_at_rest(other);
  EXPECT_GT(publish(id, "mail", "hello"), 0);
  expect_completed(id, {"hello"});
  EXPECT_EQ(status(other), "running");
  publish(other, "mail", 2);
  expect_completed(other, {2});
}

TEST_P(Direct, AMessageThatComesBeforeItsReceiveWaits) {
  const auto id = start("channels", {"first", "second"});
  expect_at_rest(id);
  publish(id, "second", 2);
  ASSERT_TRUE(eventually([&] { return count("SELECT put_aside($1)", pg::Params(id)) == 1; })) << story(id);
  publish(id, "first", 1);
  expect_completed(id, {1, 2});
}

TEST_P(Direct, AThousandEarlyMessagesArriveInOrder) {
  const auto id = start("channels", {"begin"}, "gate");
  const auto box = start("mailbox", 1000, "box");
  sql("SELECT publish('mail', to_jsonb(n), target_instance_id => $1) FROM generate_series(0, 999) n", pg::Params(box));
  expect_completed(box, numbers(1000));
  publish(id, "begin", 0);
  expect_completed(id, {0});
}

TEST_P(Direct, MessagesSentOneByOneArriveInOrder) {
  const auto id = start("mailbox", 50);
  for (int i = 0; i < 50; ++i) publish(id, "mail", i);
  expect_completed(id, numbers(50));
}

TEST_P(Direct, MessagesOfOneTransactionArriveInOrder) {
  const auto id = start("mailbox", 5);
  sql("BEGIN");
  for (int i = 0; i < 5; ++i) publish(id, "mail", i);
  sql("COMMIT");
  expect_completed(id, numbers(5));
}

TEST_P(Direct, EachOneThatFindsTheWorkflowAsleepWakesIt) {
  const auto id = start("mailbox", 6);
  for (int i = 0; i < 6; ++i) {
    expect_at_rest(id);
    publish(id, "mail", i);
    ASSERT_TRUE(eventually([&] { return history_count(id, "message_received") == i + 1; })) << story(id);
  }
  expect_completed(id, numbers(6));
}

TEST_P(Direct, AMessageRolledBackWasNeverSent) {
  const auto id = start("mailbox", 1);
  expect_at_rest(id);
  sql("BEGIN");
  publish(id, "mail", "never");
  sql("ROLLBACK");
  publish(id, "mail", "sent");
  expect_completed(id, {"sent"});
}

TEST_P(Direct, AMessageStartedWithItsInstanceInOneTransactionIsThere) {
  sql("BEGIN");
  const auto id = start("mailbox", 1);
  publish(id, "mail", "together");
  sql("COMMIT");
  expect_completed(id, {"together"});
}

TEST_P(Direct, ChannelsOfOneInstanceDoNotMix) {
  const auto id = start("channels", {"a", "b", "a", "b"});
  publish(id, "b", "b1");
  publish(id, "b", "b2");
  publish(id, "a", "a1");
  publish(id, "a", "a2");
  expect_completed(id, {"a1", "b1", "a2", "b2"});
}

TEST_P(Direct, ChannelNamesMayBeAnyText) {
  const std::string odd = "käse/日本 {\"x\"} 'quoted' %s";
  const auto id = start("channels", {odd});
  publish(id, odd, 1);
  expect_completed(id, {1});
}

TEST_P(Direct, AMessageIsReadIntoTheTypeTheWorkflowAsksFor) {
  const auto id = start("typed");
  publish(id, "note", {{"text", "good"}, {"stars", 3}});
  expect_completed(id, "good***");
}

TEST_P(Direct, AMessageThatDoesNotFitIsConsumedAndNamesItsField) {
  const auto id = start("picky");
  publish(id, "note", {{"text", "bad"}, {"stars", "three"}});
  publish(id, "note", {{"text", "good"}, {"stars", 1}});
  expect_status(id, "completed");
  EXPECT_THAT(output(id).get<std::string>(), HasSubstr("message on channel note: (/stars)"));
  EXPECT_THAT(output(id).get<std::string>(), HasSubstr("| good"));
}

TEST_P(Direct, MetadataAndIdComeWithTheMessage) {
  const auto id = start("with_metadata");
  const auto message = count("SELECT publish('mail', '5', '{\"trace\": \"t-1\", \"n\": [1]}', $1)", pg::Params(id));
  expect_completed(id, {{"data", 5}, {"metadata", {{"trace", "t-1"}, {"n", {1}}}}, {"id", message}});
}

TEST_P(Direct, MetadataIsAnEmptyObjectWhenNobodyGaveAny) {
  const auto id = start("with_metadata");
  const auto message = publish(id, "mail", nullptr);
  expect_completed(id, {{"data", nullptr}, {"metadata", Json::object()}, {"id", message}});
}

TEST_P(Direct, AMessageOfAMegabyteArrives) {
  const auto id = start("mailbox", 1);
  const std::string text(1'000'000, 'm');
  publish(id, "mail", text);
  expect_completed(id, {text});
}

TEST_P(Direct, MailThatArrivesDuringAnActivityIsReadAfterIt) {
  const auto id = start("busy_mailbox", mine("gate"));
  expect_times(id, "held", 1);
  for (int i = 0; i < 3; ++i) publish(id, "mail", i);
  open_gate(mine("gate"));
  expect_completed(id, numbers(3));
  EXPECT_EQ(times(id, "held"), 1);
}

TEST_P(Direct, ManyInstancesWithManyMessagesMixNothingUp) {
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(start("mailbox", 20, std::to_string(i)));
  for (int n = 0; n < 20; ++n) {
    for (const auto& id : ids) publish(id, "mail", n);
  }
  for (const auto& id : ids) expect_completed(id, numbers(20));
}

TEST_P(Direct, AnUnknownTargetIsRefusedByName) {
  EXPECT_THAT(refused("SELECT publish('mail', '1', target_instance_id => $1)", pg::Params(mine("nobody"))),
              HasSubstr("22023 target_instance_id: "));
}

TEST_P(Direct, ToAFinishedInstanceNothingIsSent) {
  const auto id = start("mailbox", 0);
  expect_completed(id, Json::array());
  EXPECT_EQ(one("SELECT publish('mail', '1', target_instance_id => $1) IS NULL", pg::Params(id)), "t");
}

TEST_P(Direct, TwoPublishersThatCommitTheOtherWayRoundBothArrive) {
  const auto id = start("mailbox", 2);
  expect_at_rest(id);
  const auto late = another();
  late->sql("BEGIN");
  late->publish(id, "mail", "late");  // the lower message id
  publish(id, "mail", "early");
  ASSERT_TRUE(eventually([&] { return history_count(id, "message_received") == 1; })) << story(id);
  late->sql("COMMIT");
  expect_completed(id, {"early", "late"});
}

TEST_P(Direct, PayloadsThatNoWorkerCouldReadAreRefusedByName) {
  const auto id = start("mailbox", 0);
  EXPECT_THAT(refused("SELECT publish('mail', NULL, target_instance_id => $1)", pg::Params(id)), HasSubstr("22023 data: "));
  EXPECT_THAT(refused("SELECT publish('mail', '1e999', target_instance_id => $1)", pg::Params(id)), HasSubstr("22023 data: "));
  EXPECT_THAT(refused("SELECT publish('mail', (repeat('[', 100) || repeat(']', 100))::jsonb, target_instance_id => $1)", pg::Params(id)), HasSubstr("22023 data: "));
  EXPECT_THAT(refused("SELECT publish('', '1', target_instance_id => $1)", pg::Params(id)), HasSubstr("22023 channel: "));
  EXPECT_THAT(refused("SELECT publish('mail', '1', '[]', $1)", pg::Params(id)), HasSubstr("22023 metadata: "));
}

// ----------------------------------------------------------------------------------------------------------- time-outs

THEME(TimeOuts);

TEST_P(TimeOuts, AWaitThatNobodyAnswersThrowsTimedOut) { expect_completed(start("patient", 20), {{"timed out", "mail"}}); }

TEST_P(TimeOuts, NobodyCatchingItTheWorkflowFails) {
  const Json error = expect_failed(start("impatient"));
  EXPECT_THAT(error.at("type").get<std::string>(), HasSubstr("TimedOut"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("mail"));
}

TEST_P(TimeOuts, AMessageInTimeEndsTheTimer) {
  const auto id = start("patient", 3'600'000);
  expect_timer(id, "timeout");
  publish(id, "mail", "in time");
  expect_completed(id, "in time");
  EXPECT_EQ(timers(id), 0);
}

TEST_P(TimeOuts, AMessageThatIsThereAlreadyNeedsNoTimer) {
  sql("BEGIN");
  const auto id = start("patient", 3'600'000);
  publish(id, "mail", "early");
  sql("COMMIT");
  expect_completed(id, "early");
  EXPECT_EQ(history_count(id, "wait_timed_out"), 0);
}

TEST_P(TimeOuts, AMessageAfterTheTimeOutIsForTheNextReceive) {
  const auto id = start("second_chance");
  ASSERT_TRUE(eventually([&] { return history_count(id, "wait_timed_out") == 1; })) << story(id);
  publish(id, "mail", "late");
  expect_completed(id, {false, "late"});
}

TEST_P(TimeOuts, AZeroTimeOutTakesWhatIsThere) {
  expect_completed(start("patient", 0), {{"timed out", "mail"}});
}

TEST_P(TimeOuts, ChannelsAreDrainedUntilNothingComes) {
  sql("BEGIN");
  const auto id = start("drain", 30);
  for (int i = 0; i < 4; ++i) publish(id, "mail", i);
  sql("COMMIT");
  expect_completed(id, numbers(4));
}

TEST_P(TimeOuts, ManyWaitsTimeOutSideBySide) {
  for (int i = 0; i < 40; ++i) start("patient", 10 + i % 10, std::to_string(i));
  for (int i = 0; i < 40; ++i) expect_completed(mine(std::to_string(i)), {{"timed out", "mail"}});
}

TEST_P(TimeOuts, AMessageAndATimeOutAtTheSameMomentGiveOneAnswer) {
  for (int i = 0; i < 20; ++i) start("patient", 15, std::to_string(i));
  for (int i = 0; i < 20; ++i) publish(mine(std::to_string(i)), "mail", i);
  for (int i = 0; i < 20; ++i) {
    const auto id = mine(std::to_string(i));
    expect_status(id, "completed");
    EXPECT_EQ(history_count(id, "wait_timed_out") + history_count(id, "message_received"), 1);
  }
}

// ----------------------------------------------------------------------------------------------------------- broadcast

THEME(Broadcast);

TEST_P(Broadcast, EverySubscriberGetsACopy) {
  for (const char* name : {"a", "b", "c"}) expect_at_rest(start("subscriber", {{"channel", mine("news")}, {"messages", 1}}, name));
  broadcast(mine("news"), "extra");
  for (const char* name : {"a", "b", "c"}) expect_completed(mine(name), {"extra"});
}

TEST_P(Broadcast, AllCopiesHaveOneId) {
  for (const char* name : {"a", "b", "c"}) expect_at_rest(start("subscriber_ids", mine("news"), name));
  const auto message = broadcast(mine("news"), 1);
  for (const char* name : {"a", "b", "c"}) expect_completed(mine(name), message);
}

TEST_P(Broadcast, ArrivesInOrder) {
  const auto id = start("subscriber", {{"channel", mine("news")}, {"messages", 30}});
  expect_at_rest(id);
  for (int i = 0; i < 30; ++i) broadcast(mine("news"), i);
  expect_completed(id, numbers(30));
}

TEST_P(Broadcast, DoesNotReachWhoNeverSubscribed) {
  const auto id = start("bystander", mine("news")), listener = start("subscriber", {{"channel", mine("news")}, {"messages", 1}}, "listener");
  expect_at_rest(id);
  expect_at_rest(listener);
  broadcast(mine("news"), "broadcast");
  expect_completed(listener, {"broadcast"});
  publish(id, mine("news"), "direct");
  expect_completed(id, "direct");
}

TEST_P(Broadcast, BeforeTheSubscriptionIsNotHeard) {
  broadcast(mine("news"), "too early");
  const auto id = start("subscriber", {{"channel", mine("news")}, {"messages", 1}});
  expect_at_rest(id);
  broadcast(mine("news"), "in time");
  expect_completed(id, {"in time"});
}

TEST_P(Broadcast, AfterUnsubscribingIsNotHeard) {
  const auto id = start("leaver", mine("news"));
  expect_at_rest(id);
  EXPECT_EQ(one("SELECT subscribed($1, $2)", pg::Params(id, mine("news"))), "t");
  publish(id, "go on", 1);
  ASSERT_TRUE(eventually([&] { return one("SELECT subscribed($1, $2)", pg::Params(id, mine("news"))) == "f"; }));
  broadcast(mine("news"), "nobody hears it");
  EXPECT_EQ(count("SELECT put_aside($1) + unread($1)", pg::Params(id)), 0);
  publish(id, "go on", 2);
  expect_completed(id, 2);
}

TEST_P(Broadcast, ASubscriptionIsThereBeforeTheNextActivityStarts) {
  const auto id = start("asker", mine("answers"));
  expect_times(id, "asked", 1);  // so from now on an answer must arrive
  broadcast(mine("answers"), 42);
  expect_completed(id, 42);
}

TEST_P(Broadcast, EndsWithTheSubscriber) {
  const auto id = start("subscriber", {{"channel", mine("news")}, {"messages", 1}});
  expect_at_rest(id);
  broadcast(mine("news"), 1);
  expect_completed(id, {1});
  EXPECT_EQ(one("SELECT subscribed($1, $2)", pg::Params(id, mine("news"))), "f");
  EXPECT_GT(broadcast(mine("news"), 2), 0) << "nobody there is no error";
}

TEST_P(Broadcast, CancelledSubscribersHearNothingMore) {
  const auto gone = start("subscriber", {{"channel", mine("news")}, {"messages", 5}}, "gone");
  const auto stays = start("subscriber", {{"channel", mine("news")}, {"messages", 1}}, "stays");
  expect_at_rest(gone);
  expect_at_rest(stays);
  cancel(gone);
  expect_cancelled(gone);
  EXPECT_EQ(one("SELECT subscribed($1, $2)", pg::Params(gone, mine("news"))), "f");
  broadcast(mine("news"), 1);
  expect_completed(stays, {1});
}

TEST_P(Broadcast, RolledBackReachesNobody) {
  const auto id = start("subscriber", {{"channel", mine("news")}, {"messages", 1}});
  expect_at_rest(id);
  sql("BEGIN");
  broadcast(mine("news"), "never");
  sql("ROLLBACK");
  broadcast(mine("news"), "now");
  expect_completed(id, {"now"});
}

TEST_P(Broadcast, ReachesTwentySubscribersWithTenMessagesEach) {
  for (int i = 0; i < 20; ++i) start("subscriber", {{"channel", mine("news")}, {"messages", 10}}, std::to_string(i));
  for (int i = 0; i < 20; ++i) expect_at_rest(mine(std::to_string(i)));
  for (int n = 0; n < 10; ++n) broadcast(mine("news"), n);
  for (int i = 0; i < 20; ++i) expect_completed(mine(std::to_string(i)), numbers(10));
}

// ----------------------------------------------------------------------------------------- from workflow to workflow

THEME(Senders);

TEST_P(Senders, AWorkflowSendsToAnotherOnceHoweverOftenItIsReplayed) {
  const auto box = start("mailbox", 4, "box");
  const auto id = start("sender", {{"to", box}, {"channel", "mail"}, {"times", 3}}, "sender");
  expect_completed(id, 3);
  EXPECT_EQ(history_count(id, "published"), 3);
  publish(box, "mail", "last");
  expect_completed(box, {0, 1, 2, "last"});
}

TEST_P(Senders, AWorkflowBroadcasts) {
  for (const char* name : {"a", "b"}) expect_at_rest(start("subscriber", {{"channel", mine("news")}, {"messages", 2}}, name));
  expect_completed(start("sender", {{"to", ""}, {"channel", mine("news")}, {"times", 2}}, "sender"), 2);
  for (const char* name : {"a", "b"}) expect_completed(mine(name), {0, 1});
}

TEST_P(Senders, AWorkflowMaySendToItself) { expect_completed(start("self_sender"), "to me"); }

TEST_P(Senders, TwoWorkflowsPlayPingPong) {
  const auto a = mine("a"), b = mine("b");
  start("ping_pong", {{"other", b}, {"rounds", 15}, {"serves", false}}, "a");
  start("ping_pong", {{"other", a}, {"rounds", 15}, {"serves", true}}, "b");
  expect_completed(a, 29);
  expect_completed(b, 30);
}

TEST_P(Senders, MetadataTravelsToo) {
  const auto box = start("with_metadata", nullptr, "box");
  expect_completed(start("sends_metadata", box, "sender"));
  expect_status(box, "completed");
  EXPECT_EQ(output(box).at("metadata"), Json({{"from", "me"}}));
}

TEST_P(Senders, AMessageToNobodyIsDropped) {
  expect_completed(start("sends_to_nobody", mine("nobody")), "went on");
  const auto done = start("mailbox", 0, "done");
  expect_completed(done);
  expect_completed(start("sends_to_nobody", done, "b"), "went on");
}

TEST_P(Senders, WhatCannotBeStoredIsRefusedWhereItIsPublished) {
  const Json error = expect_failed(start("bad_publisher"));
  EXPECT_THAT(error.at("type").get<std::string>(), HasSubstr("BadData"));
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr("publish on channel mail"));
}

}  // namespace
}  // namespace romancy::test
