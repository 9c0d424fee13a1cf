// What the tests of Conn share: the cluster, a schema of their own, and a Conn that records.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "common/pg/blocking.hpp"
#include "common/pg/conn.hpp"
#include "tests/unit/io_until.hpp"

namespace romancy::pg {

// A notification channel of this process alone: other tests ring in the same database at the same time.
inline const std::string kBell = "bell_" + std::to_string(::getpid());

// A schema that lives as long as the test, and a connection beside the one under test.
class ConnTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* conninfo = std::getenv("ROMANCY_TEST_PG");
    ASSERT_NE(conninfo, nullptr) << "ROMANCY_TEST_PG must hold the conninfo of a private cluster (./dev test sets it)";
    static int counter = 0;
    options.conninfo = conninfo;
    options.application_name = "romancy-test";
    options.schema = "t_" + std::to_string(::getpid()) + "_" + std::to_string(++counter);
    auto connected = Blocking::connect(options);
    ASSERT_TRUE(connected) << connected.error().text;
    beside.emplace(std::move(*connected));
    sql("CREATE SCHEMA " + options.schema);
  }
  void TearDown() override {
    if (!beside) return;
    // Whatever it is called by now.
    const auto name = sql("SELECT quote_ident($1)", Params(options.schema));
    sql("DROP SCHEMA " + name.str(0, 0) + " CASCADE");
  }

  Rows sql(std::string_view text, const Params& params = {}) {
    auto rows = beside->query(text, params);
    EXPECT_TRUE(rows) << text << ": " << rows.error().text;
    return rows ? std::move(*rows) : Rows();
  }
  void terminate(int backend) { sql("SELECT pg_terminate_backend($1, 10000)", Params(backend)); }

  io::Loop loop;
  ConnOptions options;
  std::optional<Blocking> beside;
};

// A Conn with what it told. The order of all callbacks is in `events`.
struct Recorded {
  std::vector<std::string> events;
  std::vector<Notification> notifications;
  std::optional<Error> down;
  std::unique_ptr<Conn> conn;

  Recorded(io::Loop& loop, const ConnOptions& options)
      : conn(std::make_unique<Conn>(loop, options,
                                    Conn::Handlers{.on_up = [this] { events.emplace_back("up"); },
                                                   .on_down =
                                                       [this](Error why) {
                                                         events.emplace_back("down");
                                                         down = std::move(why);
                                                       },
                                                   .on_notification =
                                                       [this](Notification n) {
                                                         notifications.push_back(std::move(n));
                                                       }})) {}
  // Opens and waits for it.
  Recorded& up(io::Loop& loop) {
    conn->open();
    io::run_until(loop, [&] { return conn->up() || down; });
    EXPECT_TRUE(conn->up()) << (down ? down->text : "");
    return *this;
  }
  // A reply that writes down what came.
  Conn::Reply note(std::string name) {
    return [this, what = std::move(name)](Result<Rows> rows) {
      if (!rows) events.push_back(what + " failed " + rows.error().sqlstate);
      else events.push_back(what + (rows->empty() ? " done" : " " + rows->str(0, 0)));
    };
  }
};

}  // namespace romancy::pg
