// Retention: finished workflows leave on their own or by id, wholly, and their ids may be used again.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class Retained : public OwnScenario {
 protected:
  Retained() : OwnScenario("[retention]\ncompleted = \"300ms\"\narchive = \"200ms\"\noutbox_failed = \"1h\"\ninterval = \"20ms\"\n") {}
  bool there(const std::string& id) { return count("SELECT count(*) FROM workflow_instances WHERE instance_id = $1", pg::Params(id)) == 1; }
  void expect_gone(const std::string& id) {
    EXPECT_TRUE(eventually([&] { return !there(id); })) << story(id);
    for (const std::string table : {"inbox", "history", "history_archive", "former_generations", "deadlines", "subscriptions", "channel_waits", "group_members"}) {
      EXPECT_EQ(system.count("SELECT count(*) FROM " + table + " WHERE instance_id = '" + id + "'"), 0) << table;
    }
  }
};
ROMANCY_THEME(Retention, Retained);

TEST_P(Retention, RemovesWhatHasCompletedAndKeepsWhatHasFailedOrRuns) {
  system.start_all(1);
  const auto done = start("one_step", "x", "done"), sleeps = start("mailbox", 1, "sleeps"), failed = start("throws_text", "no", "failed");
  expect_failed(failed);
  expect_gone(done);
  EXPECT_TRUE(there(failed));
  EXPECT_THAT(refused("SELECT * FROM workflow_result($1)", pg::Params(done)), StartsWith("22023"));
  publish(sleeps, "mail", 1);
  expect_gone(sleeps);
}

TEST_P(Retention, AnIdThatWasRemovedStartsAnewAndItsActivitiesHaveOtherKeys) {
  system.start_all(1);
  const auto id = start("one_step", "first");
  expect_gone(id);
  EXPECT_EQ(start("one_step", "second"), id);
  expect_times(id, "second", 1);
  expect_gone(id);
  EXPECT_EQ(count("SELECT count(DISTINCT key) FROM effects WHERE instance_id = $1", pg::Params(id)), 2);
}

TEST_P(Retention, FormerGenerationsLeaveWhileTheInstanceGoesOn) {
  system.start_all(1);
  const auto id = start("mail_loop", Json::array());
  for (int i = 0; i < 3; ++i) publish(id, "mail", i);
  EXPECT_TRUE(eventually([&] { return count("SELECT generation FROM workflow_instances WHERE instance_id = $1", pg::Params(id)) == 3; }));
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM workflow_history_archive WHERE instance_id = $1", pg::Params(id)) == 0; }));
  expect_at_rest(id);
  publish(id, "mail", "end");
  expect_gone(id);
}

OWN_THEME(Removal);

TEST_P(Removal, ByIdRefusesWhoRunsAndTakesWhoHasFinished) {
  system.start_all(1);
  const auto id = start("mailbox", 1);
  expect_at_rest(id);
  EXPECT_THAT(refused("SELECT remove_workflow($1)", pg::Params(id)), HasSubstr("has not finished, it is running"));
  publish(id, "mail", 1);
  expect_completed(id);
  EXPECT_EQ(romancy({"remove", id}).exit_code, 0);
  EXPECT_EQ(one("SELECT remove_workflow($1)", pg::Params(id)), "f");
  EXPECT_THAT(refused("SELECT * FROM workflow_result($1)", pg::Params(id)), HasSubstr("there is no instance"));
}

TEST_P(Removal, AFinishedIdIsReturnedRefusedOrReplaced) {
  system.start_all(1);
  const auto id = start("one_step", "first");
  expect_completed(id, "first");
  const std::string again = "SELECT start_workflow('one_step', '\"second\"', $1, on_finished => $2)";
  EXPECT_EQ(one(again, pg::Params(id, "return")), id);
  EXPECT_THAT(refused(again, pg::Params(id, "refuse")), StartsWith("55000"));
  expect_completed(id, "first");
  EXPECT_EQ(one(again, pg::Params(id, "replace")), id);
  expect_completed(id, "second");
  EXPECT_THAT(effects(id), ElementsAre("first", "second"));
  EXPECT_EQ(count("SELECT count(*) FROM workflow_history_archive WHERE instance_id = $1", pg::Params(id)), 0);
}

TEST_P(Removal, AParentThatIsReplacedStartsItsChildrenAnewThoughTheFormerOnesAreThere) {
  system.start_all(1);
  const auto id = start("canceller");
  expect_times(id + "/1", "regret", 1);
  publish(id, "regret", 1);
  expect_completed(id);
  EXPECT_EQ(one("SELECT start_workflow('canceller', 'null', $1, on_finished => 'replace')", pg::Params(id)), id);
  expect_times(id + "/1.1", "regret", 1);
  publish(id, "regret", 1);
  expect_completed(id, "WorkflowCancelled: changed its mind");
}

}  // namespace
}  // namespace romancy::test
