// romancy migrate, and the check of every other program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/pg/migrate.hpp"
#include "sql/all.hpp"
#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class Migrate : public testing::Test {
 protected:
  Schema schema{{}, Schema::Make::absent};
  pg::Blocking conn = schema.connect();

  std::string refusal(const Result<void>& result) {
    if (result) return "not refused";
    EXPECT_EQ(result.error().kind, ErrorKind::refuse) << result.error().text;
    return result.error().text;
  }
  std::string check() { return refusal(pg::check_schema(conn, schema.name())); }
  void migrate() {
    const auto report = pg::migrate(conn, schema.name());
    ASSERT_TRUE(report) << report.error().text;
  }
};

TEST_F(Migrate, TwiceDoesItOnce) {
  const auto first = pg::migrate(conn, schema.name());
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_EQ(first->from, 0);
  EXPECT_EQ(first->to, pg::program_schema_version());
  EXPECT_TRUE(first->code_made);
  EXPECT_THAT(first->applied, testing::ElementsAre("0001_tables"));
  const auto second = pg::migrate(conn, schema.name());
  ASSERT_TRUE(second) << second.error().text;
  EXPECT_EQ(second->from, second->to);
  EXPECT_THAT(second->applied, IsEmpty());
  EXPECT_FALSE(second->code_made);
  EXPECT_TRUE(pg::check_schema(conn, schema.name()));
}

TEST_F(Migrate, SeveralAtOnceDoItOnce) {
  std::atomic<int> did = 0;
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([&] {
      auto own = schema.connect();
      const auto report = pg::migrate(own, schema.name());
      if (!report) ADD_FAILURE() << report.error().text;
      if (report && !report->applied.empty()) ++did;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(did, 1);
}

TEST_F(Migrate, AnAbsentSchemaIsRefusedWithTheCommandThatHelps) {
  EXPECT_THAT(check(), HasSubstr("run romancy migrate"));
  EXPECT_THAT(refusal(pg::judge_schema(conn.query(sql::all::schema_version))), HasSubstr("run romancy migrate"));
  migrate();
  EXPECT_TRUE(pg::judge_schema(conn.query(sql::all::schema_version)));
}

TEST_F(Migrate, AnOlderSchemaIsRefusedSayingBothVersions) {
  migrate();
  schema.run("UPDATE schema_version SET version = version - 1");
  EXPECT_THAT(check(),
              AllOf(HasSubstr("is at version 0"), HasSubstr("needs version 1"), HasSubstr("run romancy migrate")));
}

TEST_F(Migrate, ANewerSchemaThatExcludesThisProgramIsRefusedSayingBothVersions) {
  migrate();
  schema.run("INSERT INTO schema_version (version, oldest_program) VALUES (99, 98)");
  const auto says =
      AllOf(HasSubstr("is at version 99"), HasSubstr("at least version 98"), HasSubstr("knows version 1"));
  EXPECT_THAT(check(), says);
  EXPECT_THAT(refusal(pg::judge_schema(conn.query(sql::all::schema_version))), says);
  const auto report = pg::migrate(conn, schema.name());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, ErrorKind::refuse);
  EXPECT_THAT(report.error().text, says);
}

TEST_F(Migrate, ANewerSchemaMadeForOlderProgramsIsUsedAndLeftAlone) {
  migrate();
  schema.run("INSERT INTO schema_version (version, oldest_program) VALUES (99, 1); "
             "UPDATE schema_version SET code_digest = 'theirs'");
  EXPECT_TRUE(pg::check_schema(conn, schema.name()));
  const auto report = pg::migrate(conn, schema.name());
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->to, 99);
  EXPECT_FALSE(report->code_made);
}

TEST_F(Migrate, FunctionsAreMadeAnewWhenTheirTextChanged) {
  migrate();
  const std::string body = "SELECT md5(string_agg(prosrc, '' ORDER BY proname, proargtypes::text)) FROM pg_proc "
                           "WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())";
  const auto before = conn.query(body)->str(0, 0);
  schema.patch("claim_runs", "SKIP LOCKED) i", ") i");
  schema.run("UPDATE schema_version SET code_digest = 'of another text'");
  EXPECT_NE(conn.query(body)->str(0, 0), before);
  const auto report = pg::migrate(conn, schema.name());
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_TRUE(report->code_made);
  EXPECT_EQ(conn.query(body)->str(0, 0), before);
}

TEST_F(Migrate, AFailureLeavesNothingBehind) {
  schema.run("CREATE SCHEMA " + schema.name() + "; CREATE TABLE " + schema.name() + ".outbox ()");
  const auto report = pg::migrate(conn, schema.name());
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().text,
              AllOf(HasSubstr(schema.name()), HasSubstr("migrations/0001_tables.sql"), HasSubstr("outbox")));
  EXPECT_EQ(conn.query("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")->int64(0, 0), 1);
}

TEST_F(Migrate, BadNamesAreRefused) {
  for (const std::string name : {"", "1a", "a-b", "A", "a b", "a\"b", "ü"}) {
    const auto report = pg::migrate(conn, name);
    ASSERT_FALSE(report) << name;
    EXPECT_EQ(report.error().kind, ErrorKind::refuse);
    EXPECT_THAT(report.error().text, HasSubstr("schema: a name of a-z, 0-9 and _")) << name;
  }
  EXPECT_THAT(refusal(pg::check_schema_name(std::string(45, 'a'))), HasSubstr("45 bytes"));
  EXPECT_TRUE(pg::check_schema_name(std::string(44, 'a')));
}

TEST_F(Migrate, ADatabaseThatIsNotUtf8IsRefused) {
  const std::string database = schema.name() + "_ascii";
  auto admin = schema.connect();
  ASSERT_TRUE(admin.script("CREATE DATABASE " + database + " ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"));
  {
    auto options = schema.options();
    options.conninfo += " dbname=" + database;
    auto ascii = pg::Blocking::connect(options);
    ASSERT_TRUE(ascii) << ascii.error().text;
    const auto report = pg::migrate(*ascii, schema.name());
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().kind, ErrorKind::refuse);
    EXPECT_THAT(report.error().text, AllOf(HasSubstr("SQL_ASCII"), HasSubstr("UTF8")));
  }
  ASSERT_TRUE(admin.script("DROP DATABASE " + database + " WITH (FORCE)"));
}

TEST_F(Migrate, AnOwnerWhoMayNotMakeRolesIsToldWhichAreMissing) {
  const std::string owner = schema.name() + "_owner";
  auto admin = schema.connect();
  const std::string database = admin.query("SELECT current_database()")->str(0, 0);
  ASSERT_TRUE(admin.script("CREATE ROLE " + owner + " LOGIN; GRANT CREATE ON DATABASE " + database + " TO " + owner));
  {
    auto options = schema.options();
    options.conninfo += " user=" + owner;
    auto own = pg::Blocking::connect(options);
    ASSERT_TRUE(own) << own.error().text;
    const auto report = pg::migrate(*own, schema.name());
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_THAT(report->missing_roles, testing::ElementsAre(schema.name() + "_client", schema.name() + "_worker"));
    EXPECT_TRUE(own->query("SELECT start_workflow('w')")) << "the owner can do everything";
  }
  ASSERT_TRUE(admin.script("DROP OWNED BY " + owner + " CASCADE; DROP ROLE " + owner));
}

}  // namespace
}  // namespace romancy::test
