#include <gtest/gtest.h>

#include "relay/delivery.hpp"

namespace romancy::relay {
namespace {

using namespace std::chrono_literals;

constexpr RetryRule kRule{.first = 1000ms, .longest = 60000ms, .attempts = 0};

Verdict of_status(int status, int attempt = 1) {
  return judge({.status = status, .retry_after = std::nullopt, .error = ""}, attempt, kRule, 0.999999);
}

TEST(Delivery, EveryTwoHundredIsDelivered) {
  for (const int status : {200, 201, 202, 204, 299}) EXPECT_EQ(of_status(status).fate, Fate::delivered) << status;
}

// A wrong address or password is the operator's to mend; the events must still be there then.
TEST(Delivery, WhatBlamesUsIsTriedAgain) {
  for (const int status :
       {0, 100, 301, 302, 307, 400, 401, 403, 404, 405, 408, 410, 425, 429, 500, 502, 503, 504, 599}) {
    EXPECT_EQ(of_status(status).fate, Fate::again) << status;
  }
}

TEST(Delivery, WhatBlamesTheEventIsGivenUp) {
  for (const int status : {413, 415, 422}) EXPECT_EQ(of_status(status).fate, Fate::given_up) << status;
}

TEST(Delivery, TheWaitDoublesUpToTheLongest) {
  const auto about = [](std::chrono::milliseconds wait, std::chrono::milliseconds expected) {
    EXPECT_LE(wait, expected);
    EXPECT_GE(wait, expected - 2ms);
  };
  about(of_status(500, 1).wait, 1s);
  about(of_status(500, 2).wait, 2s);
  about(of_status(500, 4).wait, 8s);
  about(of_status(500, 7).wait, 60s);
  about(of_status(500, 2'000'000'000).wait, 60s);
}

TEST(Delivery, JitterTakesUpToHalfOff) {
  EXPECT_EQ(judge({.status = 500, .retry_after = std::nullopt, .error = ""}, 1, kRule, 0.0).wait, 500ms);
}

TEST(Delivery, RetryAfterIsHonouredWhenItIsLonger) {
  EXPECT_EQ(judge({.status = 503, .retry_after = 120s, .error = ""}, 1, kRule, 0.5).wait, 120s);
  EXPECT_EQ(judge({.status = 503, .retry_after = 0s, .error = ""}, 1, kRule, 0.0).wait, 500ms);
  EXPECT_EQ(judge({.status = 503, .retry_after = std::chrono::seconds::max(), .error = ""}, 1, kRule, 0.0).wait,
            kLongestRetryAfter);
}

TEST(Delivery, TheLastAllowedAttemptGivesUp) {
  const RetryRule three{.first = 1ms, .longest = 1ms, .attempts = 3};
  EXPECT_EQ(judge({.status = 500, .retry_after = std::nullopt, .error = ""}, 2, three, 0).fate, Fate::again);
  EXPECT_EQ(judge({.status = 500, .retry_after = std::nullopt, .error = ""}, 3, three, 0).fate, Fate::given_up);
  EXPECT_EQ(judge({.status = 200, .retry_after = std::nullopt, .error = ""}, 3, three, 0).fate, Fate::delivered);
}

TEST(Delivery, TheReasonSaysWhatTheSinkSaid) {
  EXPECT_EQ(judge({.status = 0, .retry_after = std::nullopt, .error = "connection refused"}, 1, kRule, 0).why,
            "connection refused");
  EXPECT_EQ(judge({.status = 500, .retry_after = std::nullopt, .error = "no disk"}, 1, kRule, 0).why,
            "HTTP 500: no disk");
  EXPECT_EQ(judge({.status = 302, .retry_after = std::nullopt, .error = ""}, 1, kRule, 0).why,
            "HTTP 302 (redirects are not followed)");
}

}  // namespace
}  // namespace romancy::relay
