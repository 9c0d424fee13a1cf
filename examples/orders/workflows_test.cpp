// The order workflow, tested as a user of the SDK tests one: in memory, by a clock that jumps.
#include "workflows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <romancy/testing.hpp>

#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace orders {

using namespace std::chrono_literals;
using romancy::testing::Environment;
using ::testing::ElementsAre;
using ::testing::Pair;

// The shop of the README: what the bank does is said by the card.
class Shop {
 public:
  explicit Shop(bool forget = false) : env({fulfil}, {reserve, release, charge, refund, ship}, {.forget_at_every_step = forget}) {
    env.mock(reserve).does([this](romancy::Attempt& at) { effect(at, "reserve"); });
    env.mock(release).does([this](romancy::Attempt& at) { effect(at, "release"); });
    env.mock(refund).does([this](romancy::Attempt& at) { effect(at, "refund"); });
    env.mock(charge).does([this](romancy::Attempt& at, const Payment& payment) {
      if (payment.card == "4000000000000002") throw romancy::TerminalError("declined", "CardDeclined");
      if (payment.card == "4000000000000119" && at.number() < 3) throw std::runtime_error("try again");
      effect(at, "charge");
    });
    env.mock(ship).does([this](romancy::Attempt& at, const std::string& order_id) {
      effect(at, "ship");
      return Shipment{order_id, "T-" + order_id};
    });
  }
  std::string place(const Order& order) {
    env.start(fulfil, order, order.id);
    if (order.card != "4000002500003155") env.at(env.elapsed() + 3s).send("payment.confirmed", true, order.id);
    return order.id;
  }
  // As demo.seen has it.
  [[nodiscard]] std::string outcome(const std::string& id) const {
    if (env.status(id) == "completed") return env.result<Result>(id).outcome;
    return env.error(id).type;
  }
  // In order, each key once.
  [[nodiscard]] std::vector<std::string> effects(const std::string& id) const {
    const auto found = effects_.find(id);
    return found == effects_.end() ? std::vector<std::string>() : found->second;
  }

  Environment env;

 private:
  void effect(const romancy::Attempt& at, const std::string& what) {
    if (keys_.emplace(at.key(), what).second) effects_[at.instance_id()].push_back(what);
  }
  std::map<std::string, std::string> keys_;
  std::map<std::string, std::vector<std::string>> effects_;
};

std::vector<Order> all_orders() {
  std::ifstream file(ORDERS_FILE);
  std::vector<Order> orders;
  for (std::string line; std::getline(file, line);) orders.push_back(romancy::Json::parse(line).get<Order>());
  return orders;
}

Order order_with(const std::string& card) {
  Order order = all_orders().at(0);
  order.card = card;
  return order;
}

TEST(Orders, AnOrderIsShippedASecondAfterThePaymentIsConfirmed) {
  Shop shop;
  const auto id = shop.place(order_with("5555555555554444"));
  shop.env.run();
  EXPECT_EQ(shop.outcome(id), "shipped");
  EXPECT_EQ(shop.env.elapsed(), 4s);
  EXPECT_THAT(shop.effects(id), ElementsAre("reserve", "charge", "ship"));
  EXPECT_EQ(shop.env.events().at(0).as<Shipment>().tracking, "T-" + id);
}

TEST(Orders, ABusyBankIsAskedAgain) {
  Shop shop;
  const auto id = shop.place(order_with("4000000000000119"));
  shop.env.run();
  EXPECT_EQ(shop.outcome(id), "shipped");
  EXPECT_EQ(shop.env.attempts().size(), 5u);
}

TEST(Orders, ADeclinedCardReleasesTheStock) {
  Shop shop;
  const auto id = shop.place(order_with("4000000000000002"));
  shop.env.run();
  EXPECT_EQ(shop.outcome(id), "orders::Declined");
  EXPECT_THAT(shop.effects(id), ElementsAre("reserve", "release"));
}

TEST(Orders, AnUnconfirmedPaymentIsRefundedAfterTwentySeconds) {
  Shop shop;
  const auto id = shop.place(order_with("4000002500003155"));
  shop.env.run();
  EXPECT_EQ(shop.outcome(id), "orders::Unpaid");
  EXPECT_EQ(shop.env.elapsed(), 20s);
  EXPECT_THAT(shop.effects(id), ElementsAre("reserve", "charge", "refund", "release"));
}

TEST(Orders, EachEffectIsOnceWhereverTheWorkerDies) {
  bool died = true;
  for (int point = 0; died; ++point) {
    Shop shop;
    shop.env.die_at(point);
    const auto id = shop.place(order_with("5555555555554444"));
    shop.env.run();
    EXPECT_EQ(shop.outcome(id), "shipped");
    EXPECT_THAT(shop.effects(id), ElementsAre("reserve", "charge", "ship"));
    died = shop.env.died();
  }
}

TEST(Orders, AllFiveHundredComeToTheEndTheirDataPredicts) {
  Shop shop(true);
  std::map<std::string, int> outcomes;
  for (const Order& order : all_orders()) shop.place(order);
  shop.env.run();
  for (const Order& order : all_orders()) ++outcomes[shop.outcome(order.id)];
  EXPECT_THAT(outcomes, ElementsAre(Pair("orders::Declined", 24), Pair("orders::Unpaid", 21), Pair("rejected", 25), Pair("shipped", 430)));
}

// Recorded by orders_worker on PostgreSQL. A change of the workflow that fails here would park what runs: see ctx.patched().
TEST(Orders, WhatWasRecordedFitsTheCodeOfToday) {
  const auto replays = romancy::testing::replay_directory(ORDERS_HISTORIES, {fulfil}, {reserve, release, charge, refund, ship});
  EXPECT_TRUE(replays.ok()) << replays.text();
  EXPECT_GE(replays.all.size(), 5u);
}

}  // namespace orders
