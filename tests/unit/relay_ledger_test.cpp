#include <gtest/gtest.h>

#include "relay/ledger.hpp"

namespace romancy::relay {
namespace {

using namespace std::chrono_literals;

const Ledger::Time kNow = Ledger::Time() + 1h;

std::vector<Event> events(std::initializer_list<const char*> ids) {
  std::vector<Event> made;
  for (const char* id : ids) {
    Event event;
    event.event_id = id;
    event.attempt = 1;
    made.push_back(event);
  }
  return made;
}

TEST(Ledger, EventsAreSentInTheOrderOfTheClaims) {
  Ledger ledger;
  ledger.claimed(events({"a", "b"}), 1, kNow + 1s);
  ledger.claimed(events({"c"}), 1, kNow + 1s);
  EXPECT_EQ(ledger.take(kNow)->event.event_id, "a");
  EXPECT_EQ(ledger.take(kNow)->event.event_id, "b");
  EXPECT_EQ(ledger.take(kNow)->event.event_id, "c");
  EXPECT_FALSE(ledger.take(kNow));
}

TEST(Ledger, AnEventIsInHandUntilTheDatabaseHasHeard) {
  Ledger ledger;
  ledger.claimed(events({"a", "b"}), 1, kNow + 1s);
  EXPECT_EQ(ledger.in_hand(), 2u);
  const auto a = ledger.take(kNow), b = ledger.take(kNow);
  ledger.delivered(*a);
  ledger.failed(*b, {"b", 1, "HTTP 500", 1s, false});
  EXPECT_EQ(ledger.in_hand(), 2u);
  const auto outcomes = ledger.take_outcomes();
  EXPECT_EQ(ledger.in_hand(), 2u);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes.at(1).delivered.size(), 1u);
  EXPECT_EQ(outcomes.at(1).failed.size(), 1u);
  ledger.told(2);
  EXPECT_EQ(ledger.in_hand(), 0u);
}

TEST(Ledger, WhatWasToldInVainIsToldAgain) {
  Ledger ledger;
  ledger.claimed(events({"a"}), 1, kNow + 1s);
  ledger.delivered(*ledger.take(kNow));
  auto outcomes = ledger.take_outcomes();
  EXPECT_FALSE(ledger.untold_outcomes());
  ledger.untold(1, std::move(outcomes.at(1)));
  EXPECT_TRUE(ledger.untold_outcomes());
  EXPECT_EQ(ledger.in_hand(), 1u);
  EXPECT_EQ(ledger.take_outcomes().at(1).delivered.at(0).event_id, "a");
}

TEST(Ledger, AnOutcomeIsToldUnderTheSessionOfItsClaim) {
  Ledger ledger;
  ledger.claimed(events({"a"}), 1, kNow + 1s);
  const auto a = ledger.take(kNow);
  ledger.session_over();
  ledger.claimed(events({"a"}), 2, kNow + 1s);  // claimed again, while the first delivery is still under way
  const auto again = ledger.take(kNow);
  ledger.delivered(*a);
  ledger.delivered(*again);
  const auto outcomes = ledger.take_outcomes();
  EXPECT_EQ(outcomes.at(1).delivered.size(), 1u);
  EXPECT_EQ(outcomes.at(2).delivered.size(), 1u);
}

TEST(Ledger, WhatWaitsWhenTheSessionEndsIsNotSent) {
  Ledger ledger;
  ledger.claimed(events({"a", "b"}), 1, kNow + 1s);
  const auto a = ledger.take(kNow);
  ledger.session_over();
  EXPECT_FALSE(ledger.take(kNow));
  EXPECT_EQ(ledger.in_hand(), 1u);
}

TEST(Ledger, WhatCouldLoseItsClaimWhileItIsSentIsNotSent) {
  Ledger ledger;
  ledger.claimed(events({"late"}), 1, kNow);
  ledger.claimed(events({"in time"}), 1, kNow + 1s);
  EXPECT_EQ(ledger.take(kNow)->event.event_id, "in time");
}

}  // namespace
}  // namespace romancy::relay
