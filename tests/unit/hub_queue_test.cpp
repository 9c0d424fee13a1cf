#include <gtest/gtest.h>

#include "listener/hint.hpp"
#include "listener/out_queue.hpp"

namespace romancy::listener {
namespace {

std::vector<std::string> drained(OutQueue& queue) {
  std::vector<std::string> lines;
  while (!queue.empty()) lines.push_back(queue.pop());
  return lines;
}

using Lines = std::vector<std::string>;

TEST(OutQueue, WakesLeaveInOrderAndEqualOnesThatWaitAreOne) {
  OutQueue queue;
  for (const char* line : {"a", "b", "a", "c", "b"}) EXPECT_TRUE(queue.wake(line));
  EXPECT_EQ(drained(queue), (Lines{"a", "b", "c"}));
  EXPECT_TRUE(queue.wake("a"));  // the first has left: this one is news
  EXPECT_EQ(drained(queue), (Lines{"a"}));
}

TEST(OutQueue, OneWakeTooManyCollapsesAllIntoOneResync) {
  OutQueue queue;
  for (std::size_t i = 0; i < OutQueue::kMaxWakes; ++i) ASSERT_TRUE(queue.wake("w" + std::to_string(i)));
  EXPECT_FALSE(queue.wake("one too many"));
  for (int i = 0; i < 5000; ++i) EXPECT_TRUE(queue.wake("covered by the resync " + std::to_string(i)));
  EXPECT_EQ(drained(queue), (Lines{R"({"resync":"overflow"})"}));
  EXPECT_TRUE(queue.wake("after it"));
  EXPECT_EQ(drained(queue), (Lines{"after it"}));
}

TEST(OutQueue, OneByteTooManyCollapsesToo) {
  OutQueue queue;
  for (char c = 'a'; c < 'a' + 16; ++c) ASSERT_TRUE(queue.wake(std::string(OutQueue::kMaxBytes / 16, c)));
  EXPECT_FALSE(queue.wake("x"));
  EXPECT_EQ(drained(queue), (Lines{R"({"resync":"overflow"})"}));
}

TEST(OutQueue, BytesThatLeftAreFreeAgain) {
  OutQueue queue;
  const std::string big(OutQueue::kMaxBytes / 2, 'x');
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(queue.wake(big + std::to_string(i)));
    drained(queue);
  }
}

TEST(OutQueue, TheNewestStateAndTheResyncLeaveBeforeAnyWake) {
  OutQueue queue;
  EXPECT_TRUE(queue.wake("before the gap"));
  queue.state(false);
  queue.state(true);
  queue.resync(proc::ResyncWhy::gap);
  queue.gone(7);
  EXPECT_TRUE(queue.wake("covered"));
  EXPECT_EQ(drained(queue), (Lines{R"({"state":{"live":true}})", R"({"resync":"gap"})", R"({"gone":7})"}));
}

TEST(Hint, AnObjectIsPassedOnInOneLineAndItsInstanceIsKnown) {
  const auto hint = read_hint("{ \"instance_id\": \"order-1\",\n \"workflow_name\": \"order\" }");
  ASSERT_TRUE(hint.has_value());
  EXPECT_EQ(hint->payload, R"({"instance_id":"order-1","workflow_name":"order"})");
  EXPECT_EQ(hint->instance_id, "order-1");
}

TEST(Hint, NothingMeansLook) {
  const auto hint = read_hint("");
  ASSERT_TRUE(hint.has_value());
  EXPECT_EQ(hint->payload, "{}");
  EXPECT_FALSE(hint->instance_id.has_value());
}

TEST(Hint, AnInstanceIdThatIsNoTextIsNone) {
  for (const char* payload : {R"({"instance_id":5})", R"({"instance_id":null})", R"({"other":"x"})"}) {
    const auto hint = read_hint(payload);
    ASSERT_TRUE(hint.has_value()) << payload;
    EXPECT_FALSE(hint->instance_id.has_value()) << payload;
  }
}

TEST(Hint, ForgeriesAreRefused) {
  const std::string deep(2000, '[');
  const std::string nested = "{\"a\":" + std::string(50, '[') + std::string(50, ']') + "}";
  const std::string long_one = "{\"a\":\"" + std::string(kMaxPayload, 'x') + "\"}";
  for (const std::string& payload : {std::string("x"), std::string("[]"), std::string("null"), std::string("\"text\""),
                                     std::string("{\"a\":}"), std::string("{} {}"), deep, nested, long_one,
                                     std::string("\xff\xff")}) {
    EXPECT_FALSE(read_hint(payload).has_value()) << payload.substr(0, 80);
  }
}

TEST(Hint, BytesThatAreNotUtf8AreReplaced) {
  const auto hint = read_hint("{\"instance_id\":\"a\xff\"}");
  ASSERT_TRUE(hint.has_value());
  EXPECT_EQ(hint->payload, "{\"instance_id\":\"a\xEF\xBF\xBD\"}");
}

TEST(Hint, TheLongestPayloadOfEscapesFitsALine) {
  std::string payload = "{\"a\":\"";
  while (payload.size() < kMaxPayload - 10) payload += "\\u0001";
  payload += "\"}";
  const auto hint = read_hint(payload);
  ASSERT_TRUE(hint.has_value());
  EXPECT_LT(proc::encode_wake(proc::kWorkflowResumable, hint->payload).size(), proc::kHubMaxLine);
}

}  // namespace
}  // namespace romancy::listener
