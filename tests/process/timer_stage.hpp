// Stage: one schema, one configuration, and deadlines written as a committing run would write them.
//
// Intervals are an hour unless a test sets them: what happens then was caused by an alarm or a hint, never by a poll.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/pg/blocking.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {

struct Intervals {
  std::string timer = "1h", timeout = "1h", fallback = "1h", session = "1h";
  bool listen = false;
  std::string retention{};  // keys of that section; empty: everything is kept
};

class TimerStage {
 public:
  explicit TimerStage(const Intervals& intervals, const std::string& conninfo = {})
      : schema_(conninfo), db_(std::make_unique<pg::Blocking>(schema_.connect())) {
    config_ = dir_.write("romancy.toml",
                         "[database]\nurl = \"" + schema_.conninfo() + "\"\nschema = \"" + schema_.name() +
                             "\"\n[runtime]\ndir = \"" + dir_.path() + "\"\n[log]\nlevel = \"debug\"\n" +
                             "[listener]\nenabled = " + (intervals.listen ? "true" : "false") +
                             "\nreconnect_delay = \"20ms\"\nreconnect_delay_max = \"200ms\"\n" +
                             "[poll]\ntimer_interval = \"" + intervals.timer + "\"\nchannel_timeout_interval = \"" +
                             intervals.timeout + "\"\nfallback_interval = \"" + intervals.fallback +
                             "\"\n[session]\ntimeout = \"" + intervals.session + "\"\n[retention]\n" +
                             (intervals.retention.empty() ? "completed = \"0ms\"\nfailed = \"0ms\"\n" : intervals.retention));
  }

  std::unique_ptr<Daemon> daemon(const std::string& program, const std::string& name,
                                 std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"--config", config_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return std::make_unique<Daemon>(program, arguments, dir_.path() + "/" + name + ".log");
  }
  // A listener that hears PostgreSQL.
  std::unique_ptr<Daemon> listener() {
    auto started = daemon("romancy-listener", "listener");
    EXPECT_TRUE(eventually([&] { return started->logged("ready"); })) << started->log();
    return started;
  }
  // A timer that has connected and looked once; with a listener: that hears.
  std::unique_ptr<Daemon> timer(const std::string& name = "timer", bool hears = false) {
    auto started = daemon("romancy-timer", name);
    EXPECT_TRUE(eventually([&] {
      return started->logged("ready") && (!hears || started->logged("hub connection established"));
    })) << started->log();
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

  void instance(const std::string& id) { sql("SELECT start_workflow('w', '{}', $1)", pg::Params(id)); }
  // As commit_runs registers it: row and hint in one transaction. kind: 1 sleep 2 timeout 3 retry.
  void deadline(const std::string& id, int op, int kind, const std::string& after) {
    sql("WITH made AS (INSERT INTO deadlines (instance_id, op, kind, expires_at) "
        "VALUES ($1, $2, $3, clock_timestamp() + $4::interval) RETURNING *) "
        "SELECT hint('timer_expired', jsonb_build_object('instance_id', instance_id, 'timer_id', "
        "(ARRAY['sleep', 'timeout', 'retry', 'start_at'])[kind] || ':' || op, 'expires_at', "
        "to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))) FROM made",
        pg::Params(id, op, kind, after));
  }
  // Rows the timer has put into the inbox: 3 timer 4 timeout 5 retry.
  std::int64_t fired(int kind) { return count("SELECT count(*) FROM inbox WHERE kind = $1", pg::Params(kind)); }
  std::int64_t pending() { return count("SELECT count(*) FROM deadlines"); }

  [[nodiscard]] const Schema& schema() const { return schema_; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  [[nodiscard]] const std::string& config() const { return config_; }

 private:
  TempDir dir_;
  Schema schema_;
  std::unique_ptr<pg::Blocking> db_;
  std::string config_;
};

}  // namespace romancy::test
