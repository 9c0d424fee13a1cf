#include "common/proc/hub_wire.hpp"

#include <gtest/gtest.h>

namespace romancy::proc {
namespace {

Subscription resumer() {
  return {.role = "resumer", .group = "default/order", .channels = {kWorkflowResumable}, .session = 123};
}

// The bytes are the contract with subscribers in any language (docs/hub-protocol.md).
TEST(HubWire, GoldenBytes) {
  EXPECT_EQ(
      encode_hello(resumer()),
      R"({"hello":1,"role":"resumer","group":"default/order","channels":["workflow_resumable"],"session":123})");
  EXPECT_EQ(encode_hello({.role = "observer", .group = "x", .channels = {}, .session = {}}),
            R"({"hello":1,"role":"observer","group":"x","channels":[]})");
  EXPECT_EQ(encode_welcome(true), R"({"welcome":1,"live":true})");
  EXPECT_EQ(encode_resync(ResyncWhy::connected), R"({"resync":"connected"})");
  EXPECT_EQ(encode_resync(ResyncWhy::listener), R"({"resync":"listener"})");
  EXPECT_EQ(encode_resync(ResyncWhy::gap), R"({"resync":"gap"})");
  EXPECT_EQ(encode_resync(ResyncWhy::overflow), R"({"resync":"overflow"})");
  EXPECT_EQ(encode_wake(kOutboxPending, R"({"event_id":"e"})"),
            R"({"wake":"outbox_pending","payload":{"event_id":"e"}})");
  EXPECT_EQ(encode_state(false), R"({"state":{"live":false}})");
  EXPECT_EQ(encode_gone(9223372036854775807), R"({"gone":9223372036854775807})");
  EXPECT_EQ(encode_refused("no \"x\"\n"), R"({"refused":"no \"x\"\n"})");
}

TEST(HubWire, AHelloIsUnderstoodAsItWasSaid) {
  const auto parsed = parse_hello(encode_hello(resumer()));
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->role, "resumer");
  EXPECT_EQ(parsed->group, "default/order");
  EXPECT_EQ(parsed->channels, std::vector<std::string>{kWorkflowResumable});
  EXPECT_EQ(parsed->session, 123);
}

TEST(HubWire, AHelloWithUnknownKeysIsUnderstood) {
  EXPECT_TRUE(parse_hello(R"({"hello":1,"role":"observer","group":"g","channels":[],"later":true})").has_value());
}

TEST(HubWire, ABadHelloIsRefusedWithItsReason) {
  const auto why = [](std::string_view line) {
    const auto parsed = parse_hello(line);
    return parsed ? std::string("accepted") : parsed.error().text;
  };
  EXPECT_EQ(why(R"({"hello":2,"role":"r","group":"g","channels":[]})"),
            "hello: version 2, this hub speaks version 1");
  EXPECT_EQ(why(R"({"hello":"1","role":"r","group":"g","channels":[]})"),
            "hello: version \"1\", this hub speaks version 1");
  EXPECT_EQ(why(R"({"welcome":1,"live":true})"), "hello: the first word must be a hello");
  EXPECT_EQ(why(R"({"hello":1,"group":"g","channels":[]})"), "hello: role must be a text");
  EXPECT_EQ(why(R"({"hello":1,"role":"","group":"g","channels":[]})"), "hello: role must have 1 to 1024 bytes");
  EXPECT_EQ(why(R"({"hello":1,"role":"r","group":"g\u0000","channels":[]})"),
            "hello: group must not have control characters");
  EXPECT_EQ(why(R"({"hello":1,"role":"r","group":"g"})"), "hello: channels must be an array");
  EXPECT_EQ(why(R"({"hello":1,"role":"r","group":"g","channels":[1]})"), "hello: a channel must be a text");
  EXPECT_EQ(why(R"({"hello":1,"role":"r","group":"g","channels":["romancy_timer_expired"]})"),
            "hello: no such channel: romancy_timer_expired");
  EXPECT_EQ(why(R"({"hello":1,"role":"r","group":"g","channels":[],"session":1.5})"),
            "hello: session must be a whole number");
  EXPECT_EQ(why(R"({"hello":1,"role":"r","group":"g","channels":[],"session":9223372036854775808})"),
            "hello: session must be a whole number");
  EXPECT_EQ(why("[1]"), "hello: not a JSON object");
  for (const char* garbage : {"", "GET / HTTP/1.1", "{", "\xff\xfe", "{\"hello\":1", "[[[[[[[[[[[[[[[[[[[[[[[["}) {
    EXPECT_NE(why(garbage), "accepted") << garbage;
  }
}

TEST(HubWire, TheHubsWordsAreUnderstoodAsTheyWereSaid) {
  const auto wake = parse_hub_line(encode_wake(kTimerExpired, R"({"instance_id":"i"})"));
  ASSERT_TRUE(wake.has_value());
  EXPECT_EQ(wake->word, HubWord::wake);
  EXPECT_EQ(wake->text, kTimerExpired);
  EXPECT_EQ(wake->payload, R"({"instance_id":"i"})");

  const auto welcome = parse_hub_line(encode_welcome(true));
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->word, HubWord::welcome);
  EXPECT_TRUE(welcome->live);

  const auto state = parse_hub_line(encode_state(false));
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->word, HubWord::state);
  EXPECT_FALSE(state->live);

  const auto resync = parse_hub_line(encode_resync(ResyncWhy::overflow));
  ASSERT_TRUE(resync.has_value());
  EXPECT_EQ(resync->word, HubWord::resync);
  EXPECT_EQ(resync->text, "overflow");

  const auto gone = parse_hub_line(encode_gone(-5));
  ASSERT_TRUE(gone.has_value());
  EXPECT_EQ(gone->word, HubWord::gone);
  EXPECT_EQ(gone->session, -5);

  const auto refused = parse_hub_line(encode_refused("why"));
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->word, HubWord::refused);
  EXPECT_EQ(refused->text, "why");
}

TEST(HubWire, NonsenseFromTheHubIsRefused) {
  for (const char* line :
       {"", "x", "[]", "{}", R"({"wake":"workflow_resumable"})", R"({"wake":"workflow_resumable","payload":[]})",
        R"({"wake":"other","payload":{}})", R"({"welcome":2,"live":true})", R"({"welcome":1})", R"({"state":true})",
        R"({"state":{"live":1}})", R"({"gone":"1"})", R"({"resync":1})", R"({"hello":1})"}) {
    EXPECT_FALSE(parse_hub_line(line).has_value()) << line;
  }
}

}  // namespace
}  // namespace romancy::proc
