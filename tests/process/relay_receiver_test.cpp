// orders_receiver, with the relay before it: the demo's way of an event, from the outbox to the log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "common/pg/blocking.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {
namespace {

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

TEST(OrdersReceiver, LogsEachEventOfTheRelayAlthoughItFailsOnceInAWhile) {
  TempDir dir;
  const Schema schema;
  auto db = schema.connect();
  ASSERT_TRUE(db.query(
      "SELECT count(add_outbox_event('order.shipped', '/shop', "
      "jsonb_build_object('order_id', n, 'cents', 9007199254740993), 'e ' || n)) FROM generate_series(1, 100) n"));
  Daemon receiver("orders_receiver",
                  {"--port-file", dir.path() + "/port", "--log", dir.path() + "/received.jsonl", "--fail-every", "7"},
                  dir.path() + "/receiver.log");
  ASSERT_TRUE(eventually([&] { return !lines_of(dir.path() + "/port").empty(); })) << receiver.log();
  const auto config = dir.write(
      "romancy.toml",
      "[database]\nurl = \"" + schema.conninfo() + "\"\nschema = \"" + schema.name() + "\"\n[runtime]\ndir = \"" +
          dir.path() + "\"\n[listener]\nenabled = false\n[relay]\nurl = \"http://127.0.0.1:" +
          lines_of(dir.path() + "/port")[0] + "/events\"\nretry_delay = \"20ms\"\nretry_delay_max = \"100ms\"\n");
  Daemon relay("romancy-relay", {"--config", config}, dir.path() + "/relay.log");
  ASSERT_TRUE(eventually([&] {
    const auto left = db.query("SELECT count(*) FROM outbox_events WHERE status <> 'delivered'");
    return left && left->int64(0, 0) == 0;
  })) << relay.log();

  std::set<std::string> ids;
  for (const auto& line : lines_of(dir.path() + "/received.jsonl")) {
    const auto event = nlohmann::json::parse(line);
    ids.insert(event.at("id"));
    EXPECT_EQ(event.at("type"), "order.shipped");
    EXPECT_EQ(event.at("source"), "/shop");
    EXPECT_EQ(event.at("data").at("cents"), 9007199254740993);
  }
  EXPECT_EQ(ids.size(), 100u);
  EXPECT_TRUE(ids.contains("e 7")) << "percent-encoded on the way, decoded here";
  EXPECT_EQ(receiver.terminate(), 0);
  EXPECT_THAT(receiver.log(), testing::HasSubstr("logged 100 refused 0 failed "));
}

TEST(OrdersReceiver, WrongArgumentsAreNamed) {
  TempDir dir;
  Daemon receiver("orders_receiver", {"--port", "many"}, dir.path() + "/receiver.log");
  EXPECT_EQ(WEXITSTATUS(receiver.wait()), 64);
  EXPECT_THAT(receiver.log(), testing::HasSubstr("--port many"));
}

}  // namespace
}  // namespace romancy::test
