// Conn and KeptConn: how a connection comes, goes, and comes back; and that callbacks may do what they like.
#include <algorithm>
#include <filesystem>

#include "common/io/line_stream.hpp"
#include "common/pg/kept_conn.hpp"
#include "tests/pg/conn_support.hpp"

namespace romancy::pg {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr Statement kEcho{"test.echo", "SELECT $1::int"};

// A place where somebody listens for connections to PostgreSQL and never says a word.
struct Silent {
  std::string dir;
  UniqueFd listening;
  Silent() {
    char name[] = "/tmp/romancy-pg-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    dir = name;
    auto fd = io::listen_unix(dir + "/.s.PGSQL.5432");
    EXPECT_TRUE(fd);
    listening = std::move(*fd);
  }
  ~Silent() { std::filesystem::remove_all(dir); }
};

TEST_F(ConnTest, QueriesWhenNotUpAreTryAgainAndNeverFromWithin) {
  Recorded r(loop, options);
  std::optional<Error> error;
  r.conn->query(kEcho, Params(1), [&](Result<Rows> rows) { error = rows.error(); });
  EXPECT_FALSE(error);
  io::run_until(loop, [&] { return error.has_value(); });
  EXPECT_EQ(error->kind, ErrorKind::retry);
  EXPECT_FALSE(r.conn->up());
  EXPECT_EQ(r.conn->backend_pid(), 0);
}

TEST_F(ConnTest, ABackendThatIsTerminatedWhileIdleIsToldWithItsCode) {
  for (const bool pipeline : {true, false}) {
    options.pipeline = pipeline;
    Recorded r(loop, options);
    r.up(loop);
    terminate(r.conn->backend_pid());
    io::run_until(loop, [&] { return r.down.has_value(); });
    EXPECT_EQ(r.down->sqlstate, "57P01") << r.down->text;
    EXPECT_EQ(r.down->kind, ErrorKind::retry);
    EXPECT_THAT(r.down->text, HasSubstr("administrator command"));
  }
}

TEST_F(ConnTest, ABackendThatIsTerminatedAnswersAllUnderWayWithTryAgainThenDown) {
  for (const bool pipeline : {true, false}) {
    options.pipeline = pipeline;
    Recorded r(loop, options);
    r.up(loop);
    std::vector<Error> errors;
    const auto keep = [&](Result<Rows> rows) {
      ASSERT_FALSE(rows);
      EXPECT_FALSE(r.down);
      errors.push_back(rows.error());
    };
    r.conn->query_text("SELECT 1", r.note("answered"));
    r.conn->query_text("SELECT pg_sleep(600)", keep);
    for (int i = 0; i < 20; ++i) r.conn->query(kEcho, Params(i), keep);
    io::run_until(loop, [&] { return r.events.size() == 2; });
    terminate(r.conn->backend_pid());
    io::run_until(loop, [&] { return r.down.has_value(); });
    EXPECT_EQ(r.events[1], "answered 1");
    ASSERT_EQ(errors.size(), 21u);
    for (const auto& error : errors) {
      EXPECT_EQ(error.kind, ErrorKind::retry);
      EXPECT_EQ(error.sqlstate, "57P01");
      EXPECT_THAT(error.text, HasSubstr("the outcome is unknown"));
    }
    EXPECT_EQ(r.down->sqlstate, "57P01");
    EXPECT_FALSE(r.conn->up());
  }
}

TEST_F(ConnTest, WhatTheServerSaidBeforeItDiedIsHeardThoughOurNextWriteFails) {
  for (const bool pipeline : {true, false}) {
    SCOPED_TRACE(pipeline ? "pipelined" : "one at a time");
    options.pipeline = pipeline;
    Recorded r(loop, options);
    r.up(loop);
    r.conn->query_text("LISTEN " + kBell, r.note("listen"));
    io::run_until(loop, [&] { return r.events.size() == 2; });
    // From here on the loop does not turn, until the server has done this, said so, and gone.
    r.conn->query_text("NOTIFY " + kBell, nullptr);
    const auto idle = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query = 'NOTIFY " + kBell + "' AND state = 'idle'";
    while (sql(idle, Params(r.conn->backend_pid())).empty()) {
    }
    terminate(r.conn->backend_pid());
    r.conn->query(kEcho, Params(1), r.note("one"));
    r.conn->query(kEcho, Params(2), r.note("two"));
    io::run_until(loop, [&] { return r.down.has_value(); });
    EXPECT_THAT(r.events, ElementsAre("up", "listen done", "one failed 57P01", "two failed 57P01", "down"));
    EXPECT_EQ(r.notifications.size(), 1u);
    EXPECT_EQ(r.down->sqlstate, "57P01") << r.down->text;
  }
}

TEST_F(ConnTest, ACallbackMayOpenDescriptorsWhenLibpqHasClosedItsOwn) {
  std::vector<std::unique_ptr<io::Alarm>> newcomers;
  Recorded r(loop, options);
  Conn conn(loop, options,
            {.on_up = [] {}, .on_down = [&](Error why) { r.down = std::move(why); },
             .on_notification =
                 [&](Notification) {  // libpq has met the end of file: one of these gets its socket's number
                   for (int i = 0; i < 20; ++i) newcomers.push_back(std::make_unique<io::Alarm>(loop, [] {}));
                   for (auto& newcomer : newcomers) newcomer->set_in(0ms);
                 }});
  conn.open();
  io::run_until(loop, [&] { return conn.up(); });
  conn.query_text("LISTEN " + kBell, r.note("listen"));
  io::run_until(loop, [&] { return r.events.size() == 1; });
  conn.query_text("NOTIFY " + kBell, nullptr);
  while (sql("SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query = 'NOTIFY " + kBell + "' AND state = 'idle'",
             Params(conn.backend_pid())).empty()) {
  }
  terminate(conn.backend_pid());
  // The writes fail, and libpq reads what there is, up to the end.
  conn.query(kEcho, Params(1), nullptr);
  conn.query(kEcho, Params(2), nullptr);
  io::run_until(loop, [&] {
    return r.down.has_value() && std::none_of(newcomers.begin(), newcomers.end(), [](auto& n) { return n->armed(); });
  });
  EXPECT_EQ(newcomers.size(), 20u);
}

TEST_F(ConnTest, CloseAnswersAllUnderWayLaterAndThenTellsDownOnce) {
  Recorded r(loop, options);
  r.up(loop);
  r.conn->query(kEcho, Params(1), r.note("one"));
  r.conn->query(kEcho, Params(2), r.note("two"));
  r.conn->close();
  r.conn->close();
  EXPECT_FALSE(r.conn->up());
  EXPECT_THAT(r.events, ElementsAre("up"));
  r.conn->query(kEcho, Params(3), r.note("three"));
  io::run_until(loop, [&] { return r.events.size() == 5; });
  EXPECT_THAT(r.events, ElementsAre("up", "one failed ", "two failed ", "down", "three failed "));
}

TEST_F(ConnTest, OpenDuringTheFallWaitsUntilDownWasTold) {
  Recorded r(loop, options);
  r.up(loop);
  r.conn->query(kEcho, Params(1), [&](Result<Rows> rows) {
    EXPECT_FALSE(rows);
    r.conn->open();
  });
  r.conn->close();
  r.conn->open();
  io::run_until(loop, [&] { return r.conn->up(); });
  EXPECT_THAT(r.events, ElementsAre("up", "down", "up"));
  r.conn->query(kEcho, Params(7), r.note("again"));
  io::run_until(loop, [&] { return r.events.size() == 4; });
  EXPECT_EQ(r.events[3], "again 7");
}

TEST_F(ConnTest, CloseAfterAnOpenThatWaitsTakesItBackAndLosesNoReply) {
  Recorded r(loop, options);
  r.up(loop);
  r.conn->query(kEcho, Params(1), r.note("one"));
  r.conn->close();
  r.conn->open();
  r.conn->close();
  io::run_until(loop, [&] { return r.down.has_value(); });
  EXPECT_THAT(r.events, ElementsAre("up", "one failed ", "down"));
  r.down.reset();
  r.up(loop);
}

TEST_F(ConnTest, CloseWhileConnectingTellsDown) {
  Recorded r(loop, options);
  r.conn->open();
  r.conn->close();
  io::run_until(loop, [&] { return r.down.has_value(); });
  EXPECT_THAT(r.events, ElementsAre("down"));
}

TEST_F(ConnTest, EveryCallbackMayDestroyTheConnAndIsTheLastOne) {
  for (const bool pipeline : {true, false})
    for (const std::string_view where :
         {"up", "reply", "failed reply", "fallen reply", "notification", "down", "refused"}) {
      SCOPED_TRACE(std::string(where) + (pipeline ? ", pipelined" : ", one at a time"));
      options.pipeline = pipeline;
      std::unique_ptr<Conn> conn;
      const auto captured = std::make_shared<int>(7);
      const auto come = [&, captured](std::string_view here) {
        EXPECT_NE(conn, nullptr) << where << ", but " << here;
        if (here == where) conn.reset();
        EXPECT_EQ(*captured, 7);  // what runs outlives the Conn until it returns
      };
      conn = std::make_unique<Conn>(
          loop, options,
          Conn::Handlers{.on_up =
                             [&, come] {
                               come("up");
                               if (!conn) return;
                               const auto then = [=](auto here) { return [=](Result<Rows>) { come(here); }; };
                               conn->query_text("LISTEN " + kBell, nullptr);
                               conn->query_text("SELECT 1/0", then("failed reply"));
                               conn->query_text("SELECT 1", then("reply"));
                               conn->query_text("NOTIFY " + kBell, nullptr);
                               conn->query_text("SELECT pg_terminate_backend(pg_backend_pid())", nullptr);
                               conn->query_text("SELECT 2", then("fallen reply"));
                               conn->query_text("SELECT 3", then("fallen reply"));
                             },
                         .on_down =
                             [=, &conn](Error) {
                               come("down");
                               if (!conn) return;
                               conn->query_text("SELECT 4", [=](Result<Rows>) { come("refused"); });
                             },
                         .on_notification = [=](Notification) { come("notification"); }});
      conn->open();
      io::run_until(loop, [&] { return conn == nullptr; });
    }
}

TEST_F(ConnTest, EveryCallbackMayCloseTheConn) {
  for (const std::string_view where : {"up", "reply", "notification"}) {
    int downs = 0, replies = 0;
    std::unique_ptr<Conn> conn;
    const auto come = [&](std::string_view here) {
      if (here == where) conn->close();
    };
    const auto reply = [&](Result<Rows>) {
      ++replies;
      come("reply");
    };
    conn = std::make_unique<Conn>(loop, options,
                                  Conn::Handlers{.on_up =
                                                     [&] {
                                                       conn->query_text("LISTEN " + kBell, reply);
                                                       conn->query_text("NOTIFY " + kBell, reply);
                                                       conn->query_text("SELECT 1", reply);
                                                       come("up");
                                                     },
                                                 .on_down = [&](Error) { ++downs; },
                                                 .on_notification = [&](Notification) { come("notification"); }});
    conn->open();
    io::run_until(loop, [&] { return downs > 0; });
    EXPECT_EQ(downs, 1);
    EXPECT_EQ(replies, 3);
  }
}

TEST_F(ConnTest, DestructionWhileConnectingIsSilent) {
  for (const int turns : {0, 1, 2, 3, 5}) {
    auto conn = std::make_unique<Conn>(
        loop, options, Conn::Handlers{.on_up = {}, .on_down = [](Error) { FAIL(); }, .on_notification = {}});
    conn->open();
    int left = turns;
    std::function<void()> turn = [&] {
      if (left-- > 0) loop.at_turn_end(turn);
      else conn.reset();
    };
    turn();
    io::run_until(loop, [&] { return conn == nullptr; });
  }
}

TEST_F(ConnTest, AServerThatAcceptsAndNeverAnswersIsGivenUp) {
  const Silent silent;
  options.conninfo = "host=" + silent.dir + " port=5432 user=postgres dbname=romancy";
  options.connect_timeout = 30ms;
  Recorded r(loop, options);
  r.conn->open();
  io::run_until(loop, [&] { return r.down.has_value(); });
  EXPECT_THAT(r.events, ElementsAre("down"));
  EXPECT_EQ(r.down->kind, ErrorKind::retry);
  EXPECT_THAT(r.down->text, HasSubstr("no answer within 30 ms"));
  const auto blocking = Blocking::connect(options);
  ASSERT_FALSE(blocking);
  EXPECT_EQ(blocking.error().kind, ErrorKind::retry);
  EXPECT_THAT(blocking.error().text, HasSubstr("no answer within 30 ms"));
}

TEST_F(ConnTest, AHostThatNeverAnswersDoesNotHideTheNextOne) {
  const Silent silent;
  const auto where = sql("SELECT split_part(current_setting('unix_socket_directories'), ',', 1), "
                         "current_setting('port'), current_user, current_database()");
  options.conninfo = "host=" + silent.dir + "," + silent.dir + "/none," + where.str(0, 0) + " port=5432,5432," +
                     where.str(0, 1) + " user=" + where.str(0, 2) + " dbname=" + where.str(0, 3);
  options.connect_timeout = 500ms;
  Recorded r(loop, options);
  r.up(loop);
  EXPECT_TRUE(Blocking::connect(options));
}

TEST_F(ConnTest, NobodyThereIsTryAgainAndAWrongNameIsRefused) {
  ConnOptions nobody = options;
  nobody.conninfo = "host=/tmp/romancy-no-such-directory dbname=romancy";
  ConnOptions wrong = options;
  wrong.conninfo += " dbname=no_such_database";
  ConnOptions garbled = options;
  garbled.conninfo = "host=/tmp password=secret oops";
  for (const auto& [with, kind, sqlstate] :
       {std::tuple(nobody, ErrorKind::retry, ""), std::tuple(wrong, ErrorKind::refuse, "3D000"),
        std::tuple(garbled, ErrorKind::refuse, "")}) {
    Recorded r(loop, with);
    r.conn->open();
    EXPECT_FALSE(r.down);
    io::run_until(loop, [&] { return r.down.has_value(); });
    EXPECT_EQ(r.down->kind, kind) << r.down->text;
    EXPECT_EQ(r.down->sqlstate, sqlstate) << r.down->text;
    EXPECT_THAT(r.down->text, Not(HasSubstr("LOCATION")));
    EXPECT_THAT(r.down->text, Not(HasSubstr("secret")));
    EXPECT_THAT(r.down->text, Not(HasSubstr("\n")));
    const auto blocking = Blocking::connect(with);
    ASSERT_FALSE(blocking);
    EXPECT_EQ(blocking.error().kind, kind);
    EXPECT_EQ(blocking.error().text, r.down->text);
  }
}

TEST_F(ConnTest, KeptConnComesBackUntilItIsClosed) {
  int ups = 0, downs = 0;
  KeptConn kept(loop, options, Backoff(1ms, 10ms),
                {.on_up = [&] { ++ups; }, .on_down = [&](Error) { ++downs; }, .on_notification = {}});
  kept.open();
  for (int round = 1; round <= 3; ++round) {
    io::run_until(loop, [&] { return ups == round; });
    int answer = 0;
    kept.query(kEcho, Params(round), [&](Result<Rows> rows) { answer = rows->int32(0, 0); });
    io::run_until(loop, [&] { return answer == round; });
    terminate(kept.conn().backend_pid());
    io::run_until(loop, [&] { return downs == round; });
  }
  io::run_until(loop, [&] { return ups == 4; });
  kept.close();
  io::run_until(loop, [&] { return downs == 4; });
  bool later = false;
  io::Alarm after(loop, [&] { later = true; });
  after.set_in(50ms);
  io::run_until(loop, [&] { return later; });
  EXPECT_EQ(ups, 4);
  EXPECT_FALSE(kept.up());
}

TEST_F(ConnTest, KeptConnTriesAgainWhenNobodyIsThereAndMayDieInItsCallback) {
  options.conninfo = "host=/tmp/romancy-no-such-directory dbname=romancy";
  int downs = 0;
  std::unique_ptr<KeptConn> kept;
  kept = std::make_unique<KeptConn>(loop, options, Backoff(1ms, 2ms),
                                    Conn::Handlers{.on_up = {},
                                                   .on_down =
                                                       [&](Error why) {
                                                         EXPECT_EQ(why.kind, ErrorKind::retry);
                                                         if (++downs == 3) kept.reset();
                                                       },
                                                   .on_notification = {}});
  kept->open();
  io::run_until(loop, [&] { return kept == nullptr; });
  EXPECT_EQ(downs, 3);
}

}  // namespace
}  // namespace romancy::pg
