// What goes over a connection and how it was set up: parameters, answers, settings, kinds of errors; and Blocking.
#include "common/pg/sqlstate.hpp"
#include "tests/pg/conn_support.hpp"

namespace romancy::pg {
namespace {

using Texts = std::vector<std::string>;
using MaybeTexts = std::vector<std::optional<std::string>>;

// As PostgreSQL takes them: one row an element, in order.
MaybeTexts elements(const Rows& rows) {
  MaybeTexts all;
  for (int i = 0; i < rows.size(); ++i)
    all.push_back(rows.is_null(i, 0) ? std::nullopt : std::optional(rows.str(i, 0)));
  return all;
}

TEST_F(ConnTest, ArraysOfTextsArriveAsTheyWere) {
  const MaybeTexts values = {"plain", "", "NULL", "null", std::nullopt, "with \"quotes\"", "back\\slash\\",
                             "comma,comma", "{braces}", " spaces ", "new\nline\ttab",
                             "\xc3\xa4\xe6\xbc\xa2\xf0\x9f\x98\x80", "'apostrophe'", "\\\"", "}", "\"", "\\N", "\x01"};
  EXPECT_EQ(elements(sql("SELECT unnest($1::text[])", Params(values))), values);
  const Texts plain = {"a,b", "{", "NULL"};
  EXPECT_EQ(elements(sql("SELECT unnest($1::text[])", Params(plain))), MaybeTexts(plain.begin(), plain.end()));
}

TEST_F(ConnTest, ArraysOfNumbersAndBooleansArriveAsTheyWere) {
  const std::vector<std::int64_t> numbers = {0, -1, INT64_MAX, INT64_MIN};
  const auto rows = sql("SELECT unnest($1::bigint[])", Params(numbers));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rows.int64(i, 0), numbers[i]);
  const std::vector<std::optional<std::int64_t>> some = {1, std::nullopt, 3};
  EXPECT_EQ(elements(sql("SELECT unnest($1::bigint[])", Params(some))), (MaybeTexts{"1", std::nullopt, "3"}));
  EXPECT_EQ(elements(sql("SELECT unnest($1::int[])", Params(std::vector<int>{5, -6}))), (MaybeTexts{"5", "-6"}));
  EXPECT_EQ(elements(sql("SELECT unnest($1::bool[])", Params(std::vector<bool>{true, false}))), (MaybeTexts{"t", "f"}));
}

TEST_F(ConnTest, AnEmptyArrayIsEmptyAndNotNull) {
  const auto rows = sql("SELECT cardinality($1::text[]), cardinality($2::bigint[]), $3::int[] IS NULL",
                        Params(Texts{}, std::vector<std::int64_t>{}, std::optional<int>{}));
  EXPECT_EQ(rows.int32(0, 0), 0);
  EXPECT_EQ(rows.int32(0, 1), 0);
  EXPECT_TRUE(rows.boolean(0, 2));
}

TEST_F(ConnTest, SingleValuesArriveAsTheyWere) {
  const auto rows = sql("SELECT $1::text, $2::text, $3::bool, $4::bigint, $5::text, $6::text",
                        Params("it's \\ \"quoted\"", std::string(), true, INT64_MIN, std::nullopt,
                               std::optional<std::string>("x")));
  EXPECT_EQ(rows.text(0, 0), "it's \\ \"quoted\"");
  EXPECT_EQ(rows.text(0, 1), "");
  EXPECT_TRUE(rows.boolean(0, 2));
  EXPECT_EQ(rows.int64(0, 3), INT64_MIN);
  EXPECT_TRUE(rows.is_null(0, 4));
  EXPECT_EQ(rows.text(0, 5), "x");
}

TEST_F(ConnTest, RowsTellHowManyWereChanged) {
  sql("CREATE TABLE " + options.schema + ".t (a int)");
  EXPECT_EQ(sql("INSERT INTO t SELECT generate_series(1, 5)").affected(), 5);
  EXPECT_EQ(sql("DELETE FROM t WHERE a > 3").affected(), 2);
  EXPECT_EQ(Rows().affected(), 0);
  EXPECT_TRUE(Rows().empty());
}

using ConnDeathTest = ConnTest;
TEST_F(ConnDeathTest, MisreadingAnAnswerIsABugThatNamesTheColumn) {
  const auto rows = sql("SELECT NULL AS nothing, 'x' AS letter, 5 AS number");
  EXPECT_DEATH(static_cast<void>(rows.text(0, 0)), "NULL.*nothing");
  EXPECT_DEATH(static_cast<void>(rows.int64(0, 1)), "not an integer.*letter");
  EXPECT_DEATH(static_cast<void>(rows.boolean(0, 2)), "not a boolean.*number");
  EXPECT_DEATH(static_cast<void>(rows.text(1, 0)), "no such value");
  EXPECT_DEATH(static_cast<void>(rows.text(0, 3)), "no such value");
  EXPECT_DEATH(static_cast<void>(Rows().text(0, 0)), "no such value");
}

TEST_F(ConnTest, TheSessionIsSetUpAsAsked) {
  const std::string odd = options.schema + " odd \"name\\";
  sql("ALTER SCHEMA " + options.schema + " RENAME TO \"" + options.schema + " odd \"\"name\\\"");
  options.schema = odd;
  options.set = worker_settings();
  options.set.emplace_back("statement_timeout", "7s");
  options.set.emplace_back("romancy.test", "spaces \\ and 'quotes'");
  auto conn = Blocking::connect(options);
  ASSERT_TRUE(conn) << conn.error().text;
  const auto show = [&](const std::string& setting) { return conn->query("SHOW " + setting)->str(0, 0); };
  EXPECT_EQ(conn->query("SELECT current_schema()")->text(0, 0), odd);
  EXPECT_EQ(show("TimeZone"), "UTC");
  EXPECT_EQ(show("client_encoding"), "UTF8");
  EXPECT_EQ(show("application_name"), "romancy-test");
  EXPECT_EQ(show("plan_cache_mode"), "force_generic_plan");
  EXPECT_EQ(show("enable_seqscan"), "off");
  EXPECT_EQ(show("default_transaction_isolation"), "read committed");
  EXPECT_EQ(show("idle_session_timeout"), "0");
  EXPECT_EQ(show("statement_timeout"), "7s");
  EXPECT_EQ(show("romancy.test"), "spaces \\ and 'quotes'");
}

TEST_F(ConnTest, TheOperatorsOwnOptionsStandBesideOurs) {
  options.conninfo += " options='-c work_mem=3MB'";
  const auto conn = Blocking::connect(options);
  ASSERT_TRUE(conn) << conn.error().text;
  auto& up = const_cast<Blocking&>(*conn);
  EXPECT_EQ(up.query("SHOW work_mem")->text(0, 0), "3MB");
  EXPECT_EQ(up.query("SELECT current_schema()")->text(0, 0), options.schema);
}

TEST_F(ConnTest, ATemporaryTableCannotStandInForOneOfOurs) {
  sql("CREATE TABLE " + options.schema + ".t AS SELECT 'ours' AS a");
  sql("CREATE TEMPORARY TABLE t AS SELECT 'false' AS a");
  EXPECT_EQ(sql("SELECT a FROM t").text(0, 0), "ours");
}

TEST_F(ConnTest, BlockingRunsScriptsAndReportsErrors) {
  const auto last = beside->script("CREATE TABLE t (a int); INSERT INTO t VALUES (4); SELECT a FROM t");
  ASSERT_TRUE(last) << last.error().text;
  EXPECT_EQ(last->int32(0, 0), 4);
  const auto failed = beside->script("SELECT 1; SELECT 1/0");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().sqlstate, "22012");
  EXPECT_FALSE(beside->query("SELECT $1::text", Params(std::string("a\0b", 3))));
}

TEST_F(ConnTest, BlockingSaysTryAgainWhenTheConnectionIsGone) {
  auto conn = Blocking::connect(options);
  ASSERT_TRUE(conn);
  terminate(conn->backend_pid());
  const auto first = conn->query("SELECT 1");
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().kind, ErrorKind::retry);
  const auto second = conn->query("SELECT 1");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::retry);
}

TEST(Sqlstate, KindsSayWhatTheCallerCanDo) {
  for (const char* retry : {"", "08006", "53300", "57P01", "57014", "40001", "40P01", "55P03", "25006", "58030"})
    EXPECT_EQ(classify(retry), ErrorKind::retry) << retry;
  for (const char* refused : {"22023", "22P02", "23505", "42501", "28P01", "3D000", "P0001", "0A000", "54000", "55000"})
    EXPECT_EQ(classify(refused), ErrorKind::refuse) << refused;
  for (const char* ours : {"42P01", "42883", "42601", "26000", "XX000", "25001", "?"})
    EXPECT_EQ(classify(ours), ErrorKind::bug) << ours;
}

TEST(Sqlstate, DataErrorsAreThoseThatOneRowOfABatchCauses) {
  for (const char* data : {"22P02", "22021", "23514", "54000"}) EXPECT_TRUE(is_data_error(data)) << data;
  for (const char* other : {"", "40001", "42P01", "54001", "P0001"}) EXPECT_FALSE(is_data_error(other)) << other;
}

}  // namespace
}  // namespace romancy::pg
