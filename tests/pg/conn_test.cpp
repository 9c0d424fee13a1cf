// Conn while it is up: statements, answers, errors, notifications.
#include "tests/pg/conn_support.hpp"

namespace romancy::pg {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr Statement kEcho{"test.echo", "SELECT $1::int"};
constexpr Statement kDivide{"test.divide", "SELECT 100 / $1::int"};
constexpr Statement kNotify{"test.notify", "SELECT pg_notify($1, $2)"};

TEST_F(ConnTest, ManyPipelinedQueriesAreAnsweredInOrder) {
  Recorded r(loop, options);
  r.up(loop);
  constexpr int kMany = 3000;
  int next = 0;
  for (int i = 0; i < kMany; ++i) {
    const auto reply = [&, i](Result<Rows> rows) {
      ASSERT_TRUE(rows) << rows.error().text;
      EXPECT_EQ(i, next++);
      EXPECT_EQ(rows->int32(0, 0), i);
    };
    if (i % 3 == 0) r.conn->query_text("SELECT " + std::to_string(i), reply);
    else r.conn->query(kEcho, Params(i), reply);
  }
  EXPECT_EQ(next, 0);
  EXPECT_EQ(r.conn->under_way(), std::size_t{kMany});
  io::run_until(loop, [&] { return next == kMany; });
  EXPECT_EQ(r.conn->under_way(), 0u);
  EXPECT_EQ(sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", Params(r.conn->backend_pid())).int32(0, 0), 1);
}

TEST_F(ConnTest, AnErrorInOneDoesNotTouchItsNeighbours) {
  Recorded r(loop, options);
  r.up(loop);
  sql("CREATE TABLE " + options.schema + ".t (a int)");
  std::optional<Error> error;
  r.conn->query_text("INSERT INTO t VALUES (1)", r.note("before"));
  r.conn->query(kDivide, Params(0), [&](Result<Rows> rows) {
    ASSERT_FALSE(rows);
    error = rows.error();
    r.note("error")(std::move(rows));
  });
  r.conn->query_text("INSERT INTO t VALUES (2)", r.note("after"));
  r.conn->query(kDivide, Params(5), r.note("again"));
  io::run_until(loop, [&] { return r.events.size() == 5; });
  EXPECT_THAT(r.events, ElementsAre("up", "before done", "error failed 22012", "after done", "again 20"));
  EXPECT_EQ(error->kind, ErrorKind::refuse);
  EXPECT_EQ(error->text, "test.divide: division by zero");
  EXPECT_EQ(sql("SELECT count(*) FROM " + options.schema + ".t").int32(0, 0), 2);
}

TEST_F(ConnTest, ErrorsSayDetailAndOfBugsThePlace) {
  Recorded r(loop, options);
  r.up(loop);
  sql("CREATE TABLE " + options.schema + ".t (a int PRIMARY KEY)");
  sql("CREATE FUNCTION " + options.schema + ".broken() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN nonsense; END'");
  std::vector<Error> errors;
  const auto keep = [&](Result<Rows> rows) { errors.push_back(rows.error()); };
  r.conn->query_text("INSERT INTO t VALUES (7), (7)", keep);
  r.conn->query_text("SELECT broken()", keep);
  r.conn->query_text("SELECT 1; SELECT 2", keep);
  io::run_until(loop, [&] { return errors.size() == 3; });
  EXPECT_EQ(errors[0].kind, ErrorKind::refuse);
  EXPECT_THAT(errors[0].text, HasSubstr("t_pkey\": Key (a)=(7) already exists."));
  EXPECT_EQ(errors[1].kind, ErrorKind::bug);
  EXPECT_THAT(errors[1].text, HasSubstr("function broken() line 1"));
  EXPECT_EQ(errors[2].kind, ErrorKind::bug);  // one command only
}

TEST_F(ConnTest, AFailedPrepareIsSaidToAllBehindItAndTriedAgain) {
  Recorded r(loop, options);
  r.up(loop);
  constexpr Statement late{"test.late", "SELECT a FROM late"};
  for (const char* name : {"one", "two", "three"}) r.conn->query(late, {}, r.note(name));
  r.conn->query(kEcho, Params(4), r.note("four"));
  io::run_until(loop, [&] { return r.events.size() == 5; });
  EXPECT_THAT(r.events, ElementsAre("up", "one failed 42P01", "two failed 42P01", "three failed 42P01", "four 4"));
  sql("CREATE TABLE " + options.schema + ".late AS SELECT 5 AS a");
  r.conn->query(late, {}, r.note("five"));
  r.conn->query(late, {}, r.note("six"));
  io::run_until(loop, [&] { return r.events.size() == 7; });
  EXPECT_EQ(r.events[5], "five 5");
  EXPECT_EQ(r.events[6], "six 5");
}

TEST_F(ConnTest, AStatementWhoseTableChangedIsTryAgainAndThenWorks) {
  Recorded r(loop, options);
  r.up(loop);
  constexpr Statement all{"test.all", "SELECT * FROM changing"};
  sql("CREATE TABLE " + options.schema + ".changing AS SELECT 1 AS a");
  r.conn->query(all, {}, r.note("before"));
  io::run_until(loop, [&] { return r.events.size() == 2; });
  sql("ALTER TABLE " + options.schema + ".changing ADD COLUMN b int");
  std::vector<ErrorKind> kinds;
  for (int i = 0; i < 2; ++i)
    r.conn->query(all, {}, [&](Result<Rows> rows) { kinds.push_back(rows.error().kind); });
  io::run_until(loop, [&] { return kinds.size() == 2; });
  EXPECT_THAT(kinds, ElementsAre(ErrorKind::retry, ErrorKind::retry));
  r.conn->query(all, {}, r.note("after"));
  io::run_until(loop, [&] { return r.events.size() == 3; });
  EXPECT_EQ(r.events[2], "after 1");
}

TEST_F(ConnTest, AnswersAndQueriesLargerThanEveryBufferDoNotDeadlock) {
  Recorded r(loop, options);
  r.up(loop);
  constexpr Statement echo_text{"test.echo_text", "SELECT $1::text || $1::text"};
  constexpr int kMany = 30;
  int done = 0;
  for (int i = 0; i < kMany; ++i)
    r.conn->query(echo_text, Params(std::string(1'000'000, static_cast<char>('a' + i % 26))),
                  [&, i](Result<Rows> rows) {
                    ASSERT_TRUE(rows) << rows.error().text;
                    EXPECT_EQ(rows->text(0, 0), std::string(2'000'000, static_cast<char>('a' + i % 26)));
                    ++done;
                  });
  io::run_until(loop, [&] { return done == kMany; });
}

TEST_F(ConnTest, NotificationsComeWhileIdle) {
  for (const bool pipeline : {true, false}) {
    options.pipeline = pipeline;
    Recorded r(loop, options);
    r.up(loop);
    r.conn->query_text("LISTEN " + kBell, r.note("listen"));
    io::run_until(loop, [&] { return r.events.size() == 2; });
    sql("SELECT pg_notify('" + kBell + "', 'ding ' || n) FROM generate_series(1, 500) n");
    io::run_until(loop, [&] { return r.notifications.size() == 500; });
    EXPECT_EQ(r.notifications[0].channel, kBell);
    EXPECT_EQ(r.notifications[0].payload, "ding 1");
    EXPECT_EQ(r.notifications[499].payload, "ding 500");
    EXPECT_EQ(r.notifications[0].server_pid, beside->backend_pid());
  }
}

TEST_F(ConnTest, NotificationsThatComeWithAnAnswerAreNotLeftInTheBuffer) {
  for (const bool pipeline : {true, false}) {
    options.pipeline = pipeline;
    Recorded r(loop, options);
    r.up(loop);
    r.conn->query_text("LISTEN " + kBell, nullptr);
    // Its own notification leaves together with the answer; nothing else follows that would wake us.
    r.conn->query(kNotify, Params(kBell, "mine"), r.note("sent"));
    io::run_until(loop, [&] { return r.notifications.size() == 1; });
    EXPECT_EQ(r.notifications[0].payload, "mine");
    EXPECT_EQ(r.notifications[0].server_pid, r.conn->backend_pid());
  }
}

TEST_F(ConnTest, WithoutPipelineQueriesQueueAndRunOneAtATime) {
  options.pipeline = false;
  Recorded r(loop, options);
  r.up(loop);
  for (int i = 0; i < 50; ++i) r.conn->query(kEcho, Params(i), r.note("q"));
  r.conn->query(kDivide, Params(0), r.note("q"));
  r.conn->query_text("SELECT 50", [&](Result<Rows> rows) {
    r.note("q")(std::move(rows));
    r.conn->query_text("SELECT 51", r.note("q"));
  });
  io::run_until(loop, [&] { return r.events.size() == 54; });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(r.events[1 + i], "q " + std::to_string(i));
  EXPECT_EQ(r.events[51], "q failed 22012");
  EXPECT_EQ(r.events[52], "q 50");
  EXPECT_EQ(r.events[53], "q 51");
}

TEST_F(ConnTest, EachQueryIsATransactionOfItsOwn) {
  Recorded r(loop, options);
  r.up(loop);
  for (int i = 0; i < 3; ++i) r.conn->query_text("SELECT pg_current_xact_id()", r.note("id"));
  io::run_until(loop, [&] { return r.events.size() == 4; });
  EXPECT_NE(r.events[1], r.events[2]);
  EXPECT_NE(r.events[2], r.events[3]);
}

TEST_F(ConnTest, AParameterWithAZeroByteIsRefusedAndNotCut) {
  Recorded r(loop, options);
  r.up(loop);
  std::optional<Error> error;
  r.conn->query(kNotify, Params(kBell, std::string("a\0b", 3)), [&](Result<Rows> rows) { error = rows.error(); });
  EXPECT_FALSE(error);
  io::run_until(loop, [&] { return error.has_value(); });
  EXPECT_EQ(error->kind, ErrorKind::refuse);
  EXPECT_EQ(error->sqlstate, "22021");
  EXPECT_TRUE(r.conn->up());
}

TEST_F(ConnTest, ACopyEndsTheConnectionAsABug) {
  Recorded r(loop, options);
  r.up(loop);
  r.conn->query_text("COPY (SELECT 1) TO STDOUT", r.note("copy"));
  r.conn->query_text("SELECT 1", r.note("behind"));
  io::run_until(loop, [&] { return r.down.has_value(); });
  EXPECT_THAT(r.events, ElementsAre("up", "copy failed ", "behind failed ", "down"));
  EXPECT_EQ(r.down->kind, ErrorKind::bug);
}

}  // namespace
}  // namespace romancy::pg
