// The oracle finds a broken engine: each of these breaks one function of the schema, runs a soak, and wants to be told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/soak/soak.hpp"

namespace romancy::soak {
namespace {

using testing::Contains;
using testing::HasSubstr;

// A script that edits a function: `from` stands exactly once in it.
std::string edit(const std::string& function, const std::string& from, const std::string& to) {
  return "DO $edit$ DECLARE f text := pg_get_functiondef('romancy." + function + "'::regproc); BEGIN "
         "IF (length(f) - length(replace(f, $a$" + from + "$a$, ''))) <> length($a$" + from + "$a$) THEN RAISE 'not exactly once'; END IF; "
         "EXECUTE replace(f, $a$" + from + "$a$, $b$" + to + "$b$); END $edit$";
}

using Blows = SoakOptions::Blows;
Report with(const std::string& broken, Blows blows = Blows::none) {
  // Most take seconds; a commit without its fence does harm only where two are at one instance.
  return run({.seed = 11, .length = std::chrono::seconds(240), .blows = blows, .broken = broken, .enough = 3, .guard = std::chrono::seconds(20)});
}

TEST(SoakOracle, FindsATimerThatFiresEarly) {
  const Report report = with(edit("fire_timers", "v_clock timestamptz := clock_timestamp();", "v_clock timestamptz := clock_timestamp() + interval '100 ms';"));
  EXPECT_THAT(report.violations, Contains(HasSubstr("early")));
}

TEST(SoakOracle, FindsAMessageThatIsDeliveredTwice) {
  const Report report = with(edit("send_message", "FROM unnest(v_ids) x;", "FROM unnest(v_ids || CASE WHEN random() < 0.2 THEN v_ids END) x;"));
  EXPECT_THAT(report.violations, Contains(HasSubstr("was received 2 times")));
}

TEST(SoakOracle, FindsACompetingMessageThatTwoGot) {
  const Report report = with(edit("match_channels", "DELETE FROM channel_queue WHERE ctid = ANY (v_rows[: v_got]);",
                                  "DELETE FROM channel_queue WHERE ctid = ANY (v_rows[: v_got]) AND random() < 0.9;"));
  EXPECT_THAT(report.violations, Contains(testing::AnyOf(HasSubstr("the consumers got"), HasSubstr("not the messages that were sent"))));
}

TEST(SoakOracle, FindsAPokeThatWasForgotten) {
  const Report report = with(edit("send_message", "WHERE i.instance_id = ANY (v_ids);\n    PERFORM", "WHERE i.instance_id = ANY (v_ids) AND random() < 0.9;\n    PERFORM"));
  EXPECT_THAT(report.violations, Contains(HasSubstr("I1")));
}

TEST(SoakOracle, FindsACommitWithoutItsFence) {
  const Report report = with(edit("commit_runs", "AND i.session_id = v_session\n                          AND i.lease_token = l.token", ""), Blows::long_stops);
  EXPECT_THAT(report.violations, testing::Not(testing::IsEmpty()));
}

TEST(SoakOracle, FindsATransactionalActivityWhoseResultIsNotRecorded) {
  const Report report = with(edit("commit_activity", "INSERT INTO history (instance_id, seq, op, kind, name, data)\n  VALUES ($2, $4, $5, $6, $7, $8::jsonb);", ""));
  EXPECT_THAT(report.violations, testing::Not(testing::IsEmpty()));
}

TEST(SoakOracle, FindsInstancesThatAreNotPinned) {
  const Report report = with(edit("commit_runs", "IF v_version IS NOT NULL THEN", "IF false THEN"));
  EXPECT_THAT(report.violations, Contains(HasSubstr("is pinned to version")));
}

TEST(SoakOracle, FindsAQueueThatRunsMoreThanItAllows) {
  const Report report = with(edit("open_queue", "at_once := coalesce(v_queue.concurrency, 1000000);", "at_once := coalesce(v_queue.concurrency, 1000000) + 5;"));
  EXPECT_THAT(report.violations, Contains(HasSubstr("I14")));
}

TEST(SoakOracle, FindsRowsThatAreLeftBehind) {
  const Report report = with(edit("remove_instances", "DELETE FROM progress WHERE instance_id = ANY ($1);", ""));
  EXPECT_THAT(report.violations, Contains(testing::AnyOf(HasSubstr("left rows of"), HasSubstr("progress"))));
}

}  // namespace
}  // namespace romancy::soak
