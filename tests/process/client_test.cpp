// romancy::Client against real workers: what it starts, what it is told, and what it throws.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <romancy/client.hpp>

#include "tests/support/proxy.hpp"
#include "tests/support/system.hpp"

namespace romancy::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

const WorkflowName<Json, Json> echo("echo");
const WorkflowName<std::string, std::string> holder("holder");
const WorkflowName<int, int> retrying("retrying");
const WorkflowName<std::string, Json> reporter("reporter");

// Notifications alone: what waits for a fallback would wait for ever.
constexpr ClientOptions kPatient{.fallback = 24h};

class ClientLibrary : public testing::Test {
 protected:
  ClientLibrary() : system({}) { system.start_all(1); }
  romancy::Client client(ClientOptions options = kPatient) { return romancy::Client(system.made().conninfo(), system.schema(), options); }
  // Until somebody waits for it and has looked: only the end can be what he is told of.
  void expect_awaited(const std::string& id) {
    EXPECT_TRUE(eventually([&] { return system.count("SELECT count(*) FROM result_waits WHERE instance_id = $1", pg::Params(id)) == 1; }));
  }
  // The backends of clients that wait for nothing but notifications.
  std::int64_t listening() {
    return system.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'romancy-client' AND state = 'idle' "
                        "AND query LIKE '%await_workflow%' AND query NOT LIKE '%pg_stat%'");
  }
  void open_gate(const std::string& name) { system.sql("INSERT INTO gates VALUES ($1)", pg::Params(name)); }
  template <class F>
  static ClientError refused(F&& call) {
    try {
      call();
    } catch (const ClientError& e) {
      return e;
    }
    ADD_FAILURE() << "nothing was thrown";
    return {"", "", false};
  }

  System system;
};

TEST_F(ClientLibrary, StartsAWorkflowAndReadsWhatBecameOfIt) {
  auto shop = client();
  const Json input{{"n", 9007199254740993}, {"who", "ä"}};
  const auto id = shop.start(echo, input);
  EXPECT_EQ(id.size(), 36u);
  EXPECT_EQ(shop.wait(id), input);
  EXPECT_EQ(shop.result<Json>(id), input);
  const auto state = shop.status(id);
  EXPECT_EQ(state.status, "completed");
  EXPECT_TRUE(state.finished());
  EXPECT_EQ(state.output, input);
  EXPECT_TRUE(state.progress.is_null() && state.error.is_null() && state.note.empty());
  EXPECT_EQ(shop.start(echo, "again", {.id = "mine"}), "mine");
  EXPECT_EQ(shop.start(echo, "twice", {.id = "mine"}), "mine");
  EXPECT_EQ(shop.wait<std::string>("mine"), "again");
}

TEST_F(ClientLibrary, IsToldOfTheEndAndAsksNothingMeanwhile) {
  auto shop = client();
  const auto id = shop.start(holder, "g", {.id = "h"});
  auto ended = std::async(std::launch::async, [&] { return shop.wait<std::string>(id); });
  expect_awaited(id);
  open_gate("g");
  EXPECT_EQ(ended.get(), "g");
  EXPECT_EQ(system.count("SELECT count(*) FROM result_waits"), 0);
}

TEST_F(ClientLibrary, ManyWaitForOneAndOneForMany) {
  auto shop = client();
  shop.start(holder, "g", {.id = "h0"});
  std::vector<std::future<std::string>> ended;
  for (int i = 0; i < 4; ++i) ended.push_back(std::async(std::launch::async, [this] { return client().wait<std::string>("h0"); }));
  expect_awaited("h0");
  open_gate("g");
  for (auto& one : ended) EXPECT_EQ(one.get(), "g");
  for (int i = 1; i < 50; ++i) shop.start(holder, "g", {.id = "h" + std::to_string(i)});
  for (int i = 49; i > 0; --i) EXPECT_EQ(shop.wait<std::string>("h" + std::to_string(i)), "g");
}

TEST_F(ClientLibrary, WaitsOverALostConnection) {
  auto shop = client();
  shop.start(holder, "g", {.id = "h"});
  auto ended = std::async(std::launch::async, [&] { return shop.wait<std::string>("h"); });
  expect_awaited("h");
  EXPECT_TRUE(eventually([&] { return listening() == 1; }));
  system.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'romancy-client'");
  open_gate("g");
  EXPECT_EQ(ended.get(), "g");
}

TEST_F(ClientLibrary, ReadsAndStartsWithAnIdAreTriedAgainOnANewConnection) {
  auto shop = client();
  shop.start(echo, 1, {.id = "a"});
  for (int i = 0; i < 2; ++i) {
    system.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'romancy-client'");
    if (i == 0) EXPECT_EQ(shop.start(echo, 2, {.id = "b"}), "b");
    else EXPECT_NE(shop.status("a").status, "");
  }
}

TEST_F(ClientLibrary, LooksNowAndThenWhenNotificationsAreLost) {
  Proxy proxy(system.made().conninfo());
  proxy.rules({{.way = Proxy::Way::to_client, .type = 'A', .fate = Proxy::Fate::swallowed}});
  romancy::Client shop(proxy.conninfo(), system.schema(), {.fallback = 50ms});
  shop.start(holder, "g", {.id = "h"});
  auto ended = std::async(std::launch::async, [&] { return shop.wait<std::string>("h"); });
  expect_awaited("h");
  open_gate("g");
  EXPECT_EQ(ended.get(), "g");
  EXPECT_TRUE(eventually([&] { return proxy.met() > 0; })) << "nothing was lost";
}

TEST_F(ClientLibrary, AWaitHasATime) {
  auto shop = client();
  shop.start(holder, "g", {.id = "h"});
  EXPECT_THROW(shop.wait("h", 20ms), WaitTimedOut);
  EXPECT_THROW(shop.wait("h", 0ms), WaitTimedOut);
  open_gate("g");
  EXPECT_EQ(shop.wait<std::string>("h"), "g");
}

TEST_F(ClientLibrary, ReadsTheStatusValueOfARunningWorkflow) {
  auto shop = client();
  const auto id = shop.start(reporter, "go on");
  EXPECT_TRUE(eventually([&] { return shop.status(id).progress == Json{{"waits for", "go on"}}; }));
  EXPECT_FALSE(shop.status(id).finished());
  EXPECT_TRUE(shop.publish("go on", 7, {.to = id}));
  EXPECT_EQ(shop.wait(id), 7);
  EXPECT_EQ(shop.status(id).progress, "done");
  EXPECT_FALSE(shop.publish("go on", 8, {.to = id})) << "it has finished";
}

TEST_F(ClientLibrary, ErrorsAreWhatTheDatabaseSaid) {
  auto shop = client();
  shop.start(holder, "g", {.id = "h"});
  const auto unknown = refused([&] { shop.wait("nobody"); });
  EXPECT_EQ(unknown.sqlstate(), "22023");
  EXPECT_THAT(unknown.what(), HasSubstr("instance_id: there is no instance 'nobody'"));
  EXPECT_FALSE(unknown.may_be_tried_again());
  for (const auto& call : std::vector<std::function<void()>>{[&] { (void)shop.status("nobody"); }, [&] { shop.result("nobody"); },
                                                             [&] { shop.cancel("nobody"); }, [&] { shop.publish("c", 1, {.to = "nobody"}); }})
    EXPECT_EQ(refused(call).sqlstate(), "22023");
  EXPECT_THAT(refused([&] { shop.start(WorkflowName<int, int>(""), 1); }).what(), StartsWith("workflow_name: "));
  const auto unfinished = refused([&] { shop.result("h"); });
  EXPECT_EQ(unfinished.sqlstate(), "55000");
  EXPECT_THAT(unfinished.what(), HasSubstr("'h' has not finished: running"));
  EXPECT_THROW(shop.publish("c", 1, {.to = "h", .to_group = "g"}), std::invalid_argument);
  EXPECT_THROW(shop.publish("c", std::string("a\0b", 3), {.to = "h"}), BadData);
  open_gate("g");
  shop.wait("h");
  EXPECT_EQ(refused([&] { shop.cancel("h"); }).sqlstate(), "55000");
  EXPECT_THROW(shop.wait<int>("h"), BadData) << "its output is a string";
}

TEST_F(ClientLibrary, AWorkflowThatFailedOrWasCancelledIsAnError) {
  auto shop = client();
  const auto failed = shop.start(retrying, 10);
  try {
    shop.wait<int>(failed);
    ADD_FAILURE();
  } catch (const WorkflowFailed& e) {
    EXPECT_THAT(e.type(), HasSubstr("ActivityError"));
    EXPECT_THAT(e.message(), HasSubstr("not yet"));
  }
  const auto id = shop.start(reporter, "never");
  EXPECT_TRUE(shop.cancel(id, "enough"));
  try {
    shop.wait(id);
    ADD_FAILURE();
  } catch (const WorkflowFailed& e) {
    EXPECT_EQ(e.type(), "WorkflowCancelled");
    EXPECT_EQ(e.message(), "enough");
  }
  EXPECT_FALSE(shop.cancel(id));
  EXPECT_THROW(shop.result(id), WorkflowFailed);
}

TEST_F(ClientLibrary, ADatabaseThatIsAwayMayBeTriedAgain) {
  romancy::Client shop("host=/nowhere dbname=x", "romancy");
  EXPECT_TRUE(refused([&] { shop.start(echo, 1); }).may_be_tried_again());
  EXPECT_THROW(shop.wait("a", 10ms), WaitTimedOut);
  EXPECT_THAT(refused([] { romancy::Client("", "no\"schema"); }).what(), StartsWith("schema: "));
}

}  // namespace
}  // namespace romancy::test
