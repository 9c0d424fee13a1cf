// The relay as a process, between PostgreSQL and an HTTP server of the test. Poll intervals of an hour unless a test is
// about polling.
#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <set>

#include "common/pg/blocking.hpp"
#include "tests/process/relay_http_server.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"
#include "tests/support/pg_step.hpp"

namespace romancy::test {
namespace {

constexpr const char* kBig = R"({"n": 9007199254740993, "x": 12345678901234567890123})";

struct Settings {
  std::string url{};
  std::string relay{};  // further lines of [relay]
  std::string poll = "1h";
  std::string session = "1h";
  bool listen = false;
  std::string conninfo{};
};

class Stage {
 public:
  explicit Stage(const Settings& settings)
      : schema_(settings.conninfo), db_(std::make_unique<pg::Blocking>(schema_.connect())) {
    config_ = dir_.write(
        "romancy.toml",
        "[database]\nurl = \"" + schema_.conninfo() + "\"\nschema = \"" + schema_.name() + "\"\n[runtime]\ndir = \"" +
            dir_.path() +
            "\"\n[log]\nlevel = \"debug\"\n[listener]\nenabled = " + (settings.listen ? "true" : "false") +
            "\nreconnect_delay = \"20ms\"\nreconnect_delay_max = \"200ms\"\n[poll]\noutbox_interval = \"" +
            settings.poll + "\"\ntimer_interval = \"50ms\"\nfallback_interval = \"1h\"\n[session]\ntimeout = \"" +
            settings.session + "\"\n[relay]\nurl = \"" + settings.url +
            "\"\nretry_delay = \"20ms\"\nretry_delay_max = \"100ms\"\n" + settings.relay);
  }

  std::unique_ptr<Daemon> daemon(const std::string& program, const std::string& name,
                                 std::vector<std::string> more = {},
                                 std::map<std::string, std::string> environment = {}) {
    std::vector<std::string> arguments{"--config", config_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return std::make_unique<Daemon>(program, arguments, dir_.path() + "/" + name + ".log", std::move(environment));
  }
  std::unique_ptr<Daemon> relay(const std::string& name = "relay") {
    auto started = daemon("romancy-relay", name);
    EXPECT_TRUE(eventually([&] { return started->logged("ready"); })) << started->log();
    return started;
  }

  pg::Rows sql(const std::string& text, const pg::Params& params = {}) {
    auto rows = db_->query(text, params);
    if (!rows) {
      ADD_FAILURE() << text << ": " << rows.error().text;
      return {};
    }
    return std::move(*rows);
  }
  std::int64_t count(const std::string& text, const pg::Params& params = {}) {
    const auto rows = sql(text, params);
    return rows.empty() ? -1 : rows.int64(0, 0);
  }
  void reconnect() { db_ = std::make_unique<pg::Blocking>(schema_.connect()); }

  void event(const std::string& id, const std::string& data = "{}") {
    sql("SELECT add_outbox_event('order.shipped', '/shop', $2::jsonb, $1)", pg::Params(id, data));
  }
  void events(int count) {
    sql("SELECT count(add_outbox_event('order.shipped', '/shop', '{}', 'e' || n)) FROM generate_series(1, $1::int) n",
        pg::Params(count));
  }
  std::int64_t with_status(const std::string& status) {
    return count("SELECT count(*) FROM outbox_events WHERE status = $1", pg::Params(status));
  }
  bool all_delivered() { return count("SELECT count(*) FROM outbox_events WHERE status <> 'delivered'") == 0; }

  [[nodiscard]] const Schema& schema() const { return schema_; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }

 private:
  TempDir dir_;
  Schema schema_;
  std::unique_ptr<pg::Blocking> db_;
  std::string config_;
};

HttpServer::Script always(int status) {
  return [status](const HttpRequest&) { return http_answer(status); };
}

std::set<std::string> ids(const HttpServer& server) {
  std::set<std::string> seen;
  for (const auto& request : server.requests()) seen.insert(request.headers.at("ce-id"));
  return seen;
}

TEST(RelayProcess, AnEventIsDeliveredOnceWithItsHeadersAndItsBytes) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url()});
  stage.event("e-1", kBig);
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  const auto requests = sink.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].body, stage.sql("SELECT data::text FROM outbox").str(0, 0));
  EXPECT_THAT(requests[0].body, testing::HasSubstr("9007199254740993"));
  EXPECT_THAT(requests[0].body, testing::HasSubstr("12345678901234567890123"));
  EXPECT_EQ(requests[0].headers.at("ce-id"), "e-1");
  EXPECT_EQ(requests[0].headers.at("ce-type"), "order.shipped");
  EXPECT_EQ(requests[0].headers.at("ce-source"), "/shop");
  EXPECT_EQ(requests[0].headers.at("ce-specversion"), "1.0");
  EXPECT_THAT(requests[0].headers.at("ce-time"), testing::MatchesRegex("....-..-..T..:..:...*Z"));
  EXPECT_EQ(requests[0].headers.at("content-type"), "application/json");
  EXPECT_EQ(stage.count("SELECT attempt FROM outbox"), 1);
}

TEST(RelayProcess, AHintDeliversWithoutAPoll) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url(), .listen = true});
  const auto listener = stage.daemon("romancy-listener", "listener");
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return relay->logged("hub connection established"); })) << relay->log();
  stage.event("first");
  ASSERT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  stage.event("second");
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
}

TEST(RelayProcess, APollDeliversWithoutAHint) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url(), .poll = "50ms"});
  const auto relay = stage.relay();
  stage.event("e-1");
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
}

TEST(RelayProcess, ThousandsAreDeliveredOnceEachWithTwoRelays) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url()});
  stage.events(2000);
  const auto one = stage.relay("one"), two = stage.relay("two");
  ASSERT_TRUE(eventually([&] { return stage.all_delivered(); })) << one->log();
  EXPECT_EQ(sink.count(), 2000u);
  EXPECT_EQ(ids(sink).size(), 2000u);
}

TEST(RelayProcess, WithOneAtATimeTheyArriveInOrder) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url(), .relay = "parallel = 1\n"});
  stage.events(300);
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  const auto requests = sink.requests();
  ASSERT_EQ(requests.size(), 300u);
  for (int i = 0; i < 300; ++i)
    EXPECT_EQ(requests[static_cast<std::size_t>(i)].headers.at("ce-id"), "e" + std::to_string(i + 1));
}

TEST(RelayProcess, AFailureIsTriedAgainWithTheSameId) {
  std::atomic<int> asked = 0;
  HttpServer sink([&](const HttpRequest&) { return http_answer(++asked < 3 ? 500 : 200, "no disk"); });
  Stage stage({.url = sink.url()});
  stage.event("e-1");
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  EXPECT_EQ(sink.count("ce-id", "e-1"), 3u);
  EXPECT_EQ(stage.count("SELECT attempt FROM outbox"), 3);
}

TEST(RelayProcess, AFailingEventDoesNotHoldUpTheOthers) {
  std::atomic<bool> mended = false;
  HttpServer sink([&](const HttpRequest& request) {
    return http_answer(request.headers.at("ce-id") == "e1" && !mended ? 500 : 204);
  });
  Stage stage({.url = sink.url(), .relay = "parallel = 1\n"});
  stage.events(50);
  const auto relay = stage.relay();
  EXPECT_TRUE(eventually([&] { return stage.with_status("delivered") == 49; })) << relay->log();
  EXPECT_TRUE(eventually([&] {
    return stage.count(
               "SELECT count(*) FROM outbox_events WHERE event_id = 'e1' AND status = 'pending' AND last_error = 'HTTP "
               "500'") == 1;
  }));
  mended = true;
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
}

TEST(RelayProcess, AReceiverThatIsDownGetsEverythingOnceItIsUp) {
  int port = 0;
  { port = HttpServer(always(204)).port(); }
  Stage stage({.url = "http://127.0.0.1:" + std::to_string(port) + "/"});
  stage.events(20);
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return stage.count("SELECT count(*) FROM outbox WHERE attempt >= 2") == 20; }))
      << relay->log();
  HttpServer sink(always(204), port);
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  EXPECT_EQ(ids(sink).size(), 20u);
}

TEST(RelayProcess, AReceiverThatHangsIsATimeOutAndATryAgain) {
  std::atomic<int> asked = 0;
  HttpServer sink([&](const HttpRequest&) { return ++asked == 1 ? kSilence : http_answer(204); });
  Stage stage({.url = sink.url(), .relay = "timeout = \"200ms\"\n"});
  stage.event("e-1");
  const auto relay = stage.relay();
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  EXPECT_EQ(sink.count("ce-id", "e-1"), 2u);
}

TEST(RelayProcess, WhatBlamesTheEventIsGivenUpWithTheReason) {
  HttpServer sink([](const HttpRequest& request) {
    return http_answer(request.headers.at("ce-id") == "bad" ? 422 : 204,
                       request.headers.at("ce-id") == "bad" ? "no such field" : "");
  });
  Stage stage({.url = sink.url()});
  stage.event("bad");
  stage.event("good");
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return stage.with_status("failed") == 1 && stage.with_status("delivered") == 1; }))
      << relay->log();
  EXPECT_EQ(stage.sql("SELECT last_error FROM outbox_events WHERE event_id = 'bad'").str(0, 0),
            "HTTP 422: no such field");
  EXPECT_EQ(sink.count("ce-id", "bad"), 1u);
}

TEST(RelayProcess, TheLastAllowedAttemptIsTheLast) {
  HttpServer sink(always(503));
  Stage stage({.url = sink.url(), .relay = "max_attempts = 3\n"});
  stage.event("e-1");
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return stage.with_status("failed") == 1; })) << relay->log();
  EXPECT_EQ(sink.count(), 3u);
}

// The sink has said yes, the database has not heard it: exactly the window in which an event could be lost or
// forgotten.
TEST(RelayProcess, KilledBetweenDeliveryAndBookkeepingItDeliversAgainWithTheSameId) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url(), .poll = "50ms"});
  stage.schema().patch("complete_outbox", "PERFORM need_read_committed('complete_outbox');",
                       "PERFORM stop_at('told'); PERFORM need_read_committed('complete_outbox');");
  Gate told(stage.schema(), "told");
  stage.events(4);
  auto first = stage.relay("first");
  ASSERT_TRUE(eventually([&] {
    return stage.count(
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'romancy-relay' AND wait_event = "
               "'advisory' "
               "AND pid = (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = "
               "(SELECT (session_id & 4294967295)::oid FROM sessions))") == 1;
  })) << first->log();
  // The first outcome is being told, and stopped; the other deliveries go on meanwhile.
  ASSERT_TRUE(eventually([&] { return sink.count() == 4; })) << first->log();
  first->kill9();
  told.open();

  const auto timer = stage.daemon("romancy-timer", "timer");  // ends the dead relay's session
  const auto second = stage.relay("second");
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << second->log() << timer->log();
  EXPECT_EQ(ids(sink), (std::set<std::string>{"e1", "e2", "e3", "e4"}));
}

// No poll comes in time here: the end of the dead relay's session must wake the living one.
TEST(RelayProcess, KilledDuringDeliveryItDeliversAgain) {
  std::atomic<bool> deaf = true;
  HttpServer sink([&](const HttpRequest&) { return deaf ? kSilence : http_answer(204); });
  Stage stage({.url = sink.url(), .listen = true});
  const auto listener = stage.daemon("romancy-listener", "listener");
  stage.events(4);
  auto first = stage.relay("first");
  ASSERT_TRUE(eventually([&] { return sink.count() == 4; })) << first->log();
  const auto second = stage.relay("second");
  ASSERT_TRUE(eventually([&] { return second->logged("live=true"); })) << second->log();
  first->kill9();
  deaf = false;
  const auto timer = stage.daemon("romancy-timer", "timer");
  EXPECT_TRUE(eventually([&] { return sink.count() == 8 && stage.all_delivered(); })) << second->log() << timer->log();
}

TEST(RelayProcess, KilledAgainAndAgainItLosesNothing) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url(), .relay = "parallel = 4\n", .poll = "50ms"});
  const auto timer = stage.daemon("romancy-timer", "timer");
  stage.events(1000);
  for (std::size_t round = 1; round <= 5; ++round) {
    auto relay = stage.daemon("romancy-relay", "relay" + std::to_string(round));
    ASSERT_TRUE(eventually([&] { return sink.count() >= round * 60; })) << relay->log();
    relay->kill9();
  }
  const auto last = stage.relay("last");
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << last->log();
  EXPECT_EQ(ids(sink).size(), 1000u);
  EXPECT_LE(sink.count(), 1000u + 5 * 200) << "at most what each had in hand is repeated";
}

TEST(RelayProcess, ALostSessionCompletesNothing) {
  std::atomic<bool> go_on = false;
  HttpServer sink([&](const HttpRequest&) {
    while (!go_on) std::this_thread::yield();
    return http_answer(204);
  });
  Stage stage({.url = sink.url()});
  stage.event("e-1");
  const auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return sink.count() == 1; })) << relay->log();
  const std::int64_t session = stage.count("SELECT session_id FROM sessions");
  stage.sql("SELECT end_session($1, true, false)", pg::Params(session));
  go_on = true;
  EXPECT_TRUE(eventually([&] { return relay->logged("claims_lost"); })) << relay->log();
  EXPECT_EQ(stage.with_status("pending"), 1);
}

TEST(RelayProcess, ARelayWhoseSessionWasEndedBeginsANewOne) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url(), .poll = "50ms", .session = "1s"});
  const auto relay = stage.relay();
  const std::int64_t session = stage.count("SELECT session_id FROM sessions");
  stage.sql("SELECT end_session($1, true, false)", pg::Params(session));
  stage.event("e-1");
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  EXPECT_TRUE(relay->logged("session_lost"));
}

TEST(RelayProcess, StoppingItFinishesWhatIsUnderWay) {
  std::atomic<bool> go_on = false;
  HttpServer sink([&](const HttpRequest&) {
    while (!go_on) std::this_thread::yield();
    return http_answer(204);
  });
  Stage stage({.url = sink.url(), .relay = "parallel = 2\n"});
  stage.events(10);
  auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return sink.count() == 2; })) << relay->log();
  relay->signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return relay->logged("draining"); })) << relay->log();
  go_on = true;
  EXPECT_EQ(WEXITSTATUS(relay->wait()), 0) << relay->log();
  EXPECT_EQ(sink.count(), 2u) << "nothing new was sent";
  EXPECT_EQ(stage.with_status("delivered"), 2);
  EXPECT_EQ(stage.count("SELECT count(*) FROM sessions"), 0);
  EXPECT_EQ(stage.count("SELECT count(*) FROM outbox WHERE status = 1 AND next_attempt_at <= clock_timestamp()"), 8)
      << "what it had claimed is due at once";
}

TEST(RelayProcess, WithoutASinkEventsStayAndItIsReady) {
  Stage stage({.url = "", .poll = "20ms"});
  stage.event("e-1");
  auto relay = stage.relay();
  EXPECT_TRUE(relay->logged("no_sink"));
  EXPECT_EQ(stage.count("SELECT attempt FROM outbox"), 0);
  EXPECT_EQ(relay->terminate(), 0);
}

TEST(RelayProcess, AWrongUrlIs78) {
  Stage stage({.url = ""});
  TempDir dir;
  const auto config = dir.write("romancy.toml", "[database]\nurl = \"" + stage.schema().conninfo() + "\"\nschema = \"" +
                                                    stage.schema().name() + "\"\n[relay]\nurl = \"ftp://broker/\"\n");
  Daemon relay("romancy-relay", {"--config", config}, dir.path() + "/relay.log");
  EXPECT_EQ(WEXITSTATUS(relay.wait()), 78) << relay.log();
}

TEST(RelayProcess, OnceDeliversWhatIsDueAndEnds) {
  HttpServer sink(always(204));
  Stage stage({.url = sink.url()});
  stage.events(250);
  auto relay = stage.daemon("romancy-relay", "relay", {"--once"});
  EXPECT_EQ(WEXITSTATUS(relay->wait()), 0) << relay->log();
  EXPECT_EQ(stage.with_status("delivered"), 250);
  EXPECT_EQ(stage.count("SELECT count(*) FROM sessions"), 0);
}

TEST(RelayProcess, OnceWithoutADatabaseIs75) {
  TempDir dir;
  const auto config =
      dir.write("romancy.toml", "[database]\nurl = \"host=" + dir.path() + " user=nobody dbname=none\"\n");
  Daemon relay("romancy-relay", {"--config", config, "--once"}, dir.path() + "/relay.log");
  EXPECT_EQ(WEXITSTATUS(relay.wait()), 75) << relay.log();
}

TEST(RelayProcess, ADatabaseThatDiesInBetweenLosesNothing) {
  PrivateCluster cluster;
  std::atomic<bool> go_on = false;
  HttpServer sink([&](const HttpRequest&) {
    while (!go_on) std::this_thread::yield();
    return http_answer(204);
  });
  Stage stage({.url = sink.url(), .poll = "50ms", .conninfo = cluster.conninfo()});
  stage.events(30);
  auto relay = stage.relay();
  ASSERT_TRUE(eventually([&] { return sink.count() == 16; })) << relay->log();
  cluster.stop("immediate");
  ASSERT_TRUE(eventually([&] { return relay->logged("database_away"); })) << relay->log();
  go_on = true;
  cluster.start();
  stage.reconnect();
  EXPECT_TRUE(eventually([&] { return stage.all_delivered(); })) << relay->log();
  EXPECT_EQ(ids(sink).size(), 30u);
}

}  // namespace
}  // namespace romancy::test
