// What watches over all the other tests must itself be seen to bark.
#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class Watchers : public Storage {};

// One sample, taken after the damage was done.
void sample_once(const Schema& schema) {
  InvariantSampler sampler(schema.options(), std::chrono::hours(1));
  sampler.stop();
}

TEST_F(Watchers, TheSamplerSeesEachBrokenInvariant) {
  static const Schema* watched = nullptr;  // the macro below takes no locals
  watched = &schema;
  const std::pair<std::string, std::string> damages[] = {
      {"UPDATE instances SET session_id = NULL; INSERT INTO inbox (instance_id, kind) VALUES ('i1', 2)", "I1: "},
      {"DELETE FROM sessions", "I2: "},
      {"DELETE FROM claims", "I3: "},
      {"INSERT INTO stuck VALUES ('i1', 1)", "I5: "},
      {"UPDATE instances SET lease_token = 0", "a token fell"},
  };
  for (const auto& [damage, expected] : damages) {
    static std::string says;
    says = expected;
    c.run("TRUNCATE instances, inbox, pokes, claims, sessions, stuck, history, guard_notes");
    a.run("SELECT pg_advisory_unlock_all()");
    leased();
    c.run(damage);
    EXPECT_NONFATAL_FAILURE_ON_ALL_THREADS(sample_once(*watched), says);
  }
}

TEST_F(Watchers, AFinishedInstanceThatIsChangedIsNoticed) {
  leased();
  a.run(commit(1, {{.id = "i1", .status = 2}}));
  auto conn = schema.connect();
  EXPECT_TRUE(check_quiescent(conn));
  c.run("UPDATE instances SET status = 1");
  EXPECT_THAT(check_quiescent(conn).message(), HasSubstr("a finished instance was changed"));
}

TEST_F(Watchers, QuiescenceMeansThatNothingIsLeftOver) {
  leased();
  auto conn = schema.connect();
  EXPECT_THAT(check_quiescent(conn).message(), HasSubstr("i1: owner 1"));
  a.run(commit(1, {{.id = "i1"}}));
  EXPECT_TRUE(check_quiescent(conn));
  c.run(tell("i1"));
  const auto unread = check_quiescent(conn);
  EXPECT_THAT(unread.message(), AllOf(HasSubstr("i1: poke"), HasSubstr("i1: unread inbox row of kind 2")));
  c.run("TRUNCATE inbox, pokes; INSERT INTO history (instance_id, seq, op, kind) VALUES ('i1', 3, 1, 2)");
  EXPECT_THAT(check_quiescent(conn).message(), HasSubstr("history has 2 rows, from seq 1 to 3"));
}

}  // namespace
}  // namespace romancy::test
