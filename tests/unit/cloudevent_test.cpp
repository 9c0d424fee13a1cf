#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "relay/cloud_event.hpp"

namespace romancy::relay {
namespace {

using testing::Contains;
using testing::Pair;

Event event() {
  return {.event_id = "e-1",
          .event_type = "order.shipped",
          .event_source = "/shop",
          .data = R"({"cents": 9007199254740993})",
          .content_type = "application/json",
          .created_at = "2026-01-31T23:59:59.123456Z",
          .attempt = 1};
}

TEST(CloudEvent, AttributesAreHeadersOfBinaryMode) {
  const auto message = to_message(event());
  ASSERT_TRUE(message);
  EXPECT_THAT(message->headers,
              testing::UnorderedElementsAre(Pair("ce-specversion", "1.0"), Pair("ce-id", "e-1"),
                                            Pair("ce-type", "order.shipped"), Pair("ce-source", "/shop"),
                                            Pair("ce-time", "2026-01-31T23:59:59.123456Z"),
                                            Pair("content-type", "application/json")));
}

TEST(CloudEvent, TheBodyIsTheStoredTextByteForByte) {
  EXPECT_EQ(to_message(event())->body, R"({"cents": 9007199254740993})");
}

TEST(CloudEvent, ABinaryValueTravelsAsItsBytes) {
  const auto body_of = [](const std::string& data) {
    Event sent = event();
    sent.data = data;
    return to_message(sent)->body;
  };
  EXPECT_EQ(body_of(R"({"$binary": ""})"), "");
  EXPECT_EQ(body_of(R"({"$binary": "AP8Q"})"), std::string("\0\xff\x10", 3));
  EXPECT_EQ(body_of(R"({"$binary": "YWI="})"), "ab");
  EXPECT_EQ(body_of(R"({"$binary": "+/+/YQ=="})"), "\xfb\xff\xbf" "a");
  for (const char* json : {R"({"$binary": "YWI"})", R"({"$binary": "YW I="})", R"({"$binary": "=WI="})",
                           R"({"$binary": "YWI=", "x": 1})", R"({"$binary": 1})", R"({"x": {"$binary": "YWI="}})"})
    EXPECT_EQ(body_of(json), json) << "as it is stored: not exactly a binary value";
}

TEST(CloudEvent, ValuesAreEncodedAsTheHttpBindingSays) {
  EXPECT_EQ(encode_attribute("plain-~!#$&'()*+,/:;=?@[]"), "plain-~!#$&'()*+,/:;=?@[]");
  EXPECT_EQ(encode_attribute("a b\"c%d"), "a%20b%22c%25d");
  EXPECT_EQ(encode_attribute("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");  // the binding's own example
}

TEST(CloudEvent, NoValueCanForgeAHeader) {
  Event forged = event();
  forged.event_type = "x\r\nce-id: other";
  const auto message = to_message(forged);
  ASSERT_TRUE(message);
  EXPECT_THAT(message->headers, Contains(Pair("ce-type", "x%0D%0Ace-id:%20other")));
  forged = event();
  forged.content_type = "application/json\r\nx: y";
  const auto refused = to_message(forged);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text, testing::StartsWith("content_type: "));
}

TEST(CloudEvent, MissingAttributesAreRefusedByName) {
  for (auto [member, name] : {std::pair{&Event::event_id, "event_id"},
                              {&Event::event_type, "event_type"},
                              {&Event::event_source, "event_source"}}) {
    Event incomplete = event();
    incomplete.*member = "";
    const auto refused = to_message(incomplete);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::refuse);
    EXPECT_THAT(refused.error().text, testing::StartsWith(name));
  }
}

TEST(CloudEvent, NoContentTypeMeansJson) {
  Event bare = event();
  bare.content_type = "";
  EXPECT_THAT(to_message(bare)->headers, Contains(Pair("content-type", "application/json")));
}

}  // namespace
}  // namespace romancy::relay
