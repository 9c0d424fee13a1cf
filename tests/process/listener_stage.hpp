// listener_stage: what the tests of the listener's process share.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/pg/blocking.hpp"
#include "tests/support/bare_peer.hpp"
#include "tests/support/daemons.hpp"

namespace romancy::test {

inline const char* const kLive = R"({"state":{"live":true}})";
inline const char* const kDeaf = R"({"state":{"live":false}})";
inline const char* const kGap = R"({"resync":"gap"})";

// The real romancy-listener on a schema of the test's own, and observers of its hub.
class ListenerProcess : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* conninfo = std::getenv("ROMANCY_TEST_PG");
    ASSERT_NE(conninfo, nullptr) << "run by ./dev test, which sets ROMANCY_TEST_PG";
    conninfo_ = conninfo;
    static int number = 0;
    schema_ = "t_" + std::to_string(::getpid()) + "_" + std::to_string(++number);
    auto sql = connect();
    ASSERT_TRUE(sql.has_value()) << sql.error().text;
    sql_ = std::make_unique<pg::Blocking>(std::move(*sql));
  }

  Result<pg::Blocking> connect() {
    return pg::Blocking::connect({.conninfo = conninfo_, .application_name = "test", .schema = schema_, .set = {}});
  }
  std::string config(const std::string& listener, const std::string& url) {
    const std::string text = "[database]\nurl = \"" + url + "\"\nschema = \"" + schema_ + "\"\n" + database_ +
                             "[runtime]\ndir = \"" + dir_.path() + "/run\"\n" +
                             "[log]\nlevel = \"debug\"\n" + "[listener]\n" + listener;
    return dir_.write("romancy.toml", text);
  }
  void start(const std::string& listener = "heartbeat_interval = \"100ms\"\n", const std::string& url = {}) {
    listener_.emplace("romancy-listener",
                      std::vector<std::string>{"--config", config(listener, url.empty() ? conninfo_ : url)}, log_, environment_);
  }
  std::string hub() { return dir_.path() + "/run/hub.sock"; }
  // An observer of every channel, as soon as the hub serves.
  BarePeer observer() {
    std::optional<BarePeer> peer;
    EXPECT_TRUE(eventually([&] {
      auto fd = io::connect_unix(hub());
      if (fd) peer.emplace(std::move(*fd));
      return peer.has_value();
    })) << listener_->log();
    peer->say(R"({"hello":1,"role":"observer","group":"o","channels":["workflow_resumable","timer_expired",)"
              R"("channel_message","outbox_pending"]})");
    EXPECT_TRUE(eventually([&] { return peer->lines().size() >= 2; })) << listener_->log();
    return std::move(*peer);
  }
  // The same, when the listener is live and says no more about it.
  BarePeer live_observer() {
    BarePeer peer = observer();
    if (peer.count(R"({"welcome":1,"live":true})") == 0) {
      // "listener", or the one of the welcome when both were still queued: one resync is enough.
      EXPECT_TRUE(eventually([&] {
        return peer.count(kLive) == 1 && peer.lines().back().starts_with(R"({"resync":)");
      })) << listener_->log();
    }
    peer.forget();
    return peer;
  }
  void notify(const std::string& kind, const std::string& payload) {
    const auto done = sql_->query("SELECT pg_notify($1, $2)", pg::Params(schema_ + "_" + kind, payload));
    EXPECT_TRUE(done.has_value()) << done.error().text;
  }
  // The server process of our listener, and how many heartbeats it has had; 0 when there is none.
  struct Backend {
    int pid = 0;
    int beats = 0;
  };
  Backend backend() {
    const auto rows = sql_->query(
        "SELECT pid, substring(query from '''(\\d+)''$') FROM pg_stat_activity WHERE query LIKE $1",
        pg::Params("NOTIFY " + schema_ + "\\_heartbeat\\_%"));
    EXPECT_TRUE(rows.has_value()) << rows.error().text;
    if (!rows || rows->empty()) return {};
    return {rows->int32(0, 0), rows->is_null(0, 1) ? 0 : rows->int32(0, 1)};
  }
  void terminate_backend() {
    Backend found;
    ASSERT_TRUE(eventually([&] { return (found = backend()).pid != 0; }));
    ASSERT_TRUE(sql_->query("SELECT pg_terminate_backend($1)", pg::Params(found.pid)).has_value());
  }
  // Runs the listener to its end: its exit code.
  int exit_code(std::vector<std::string> arguments) {
    Daemon daemon("romancy-listener", std::move(arguments), log_);
    const int status = daemon.wait();
    EXPECT_TRUE(WIFEXITED(status)) << daemon.log();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  TempDir dir_;
  std::string log_ = dir_.path() + "/log";
  std::string conninfo_, schema_;
  std::string database_;  // further lines of [database]
  std::map<std::string, std::string> environment_;  // of the listener
  std::unique_ptr<pg::Blocking> sql_;
  std::optional<Daemon> listener_;
};

}  // namespace romancy::test
