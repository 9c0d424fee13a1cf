// Determinism: code that is not what history says is stopped by name, writes nothing, and goes on once it is right again.
#include "tests/scenarios/scenario.hpp"

namespace romancy::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Determinisms : public OwnScenario {
 protected:
  // One instance that waits for "go on", and nobody there any more.
  std::string waiting_for_other_code() {
    system.start_all(1);
    const auto id = start("changing", "");
    expect_at_rest_in_wait(id);
    EXPECT_EQ(system.worker(1).terminate(), 0);
    return id;
  }
  void expect_at_rest_in_wait(const std::string& id) {
    EXPECT_TRUE(eventually([&] { return history_count(id, "wait_started") == 1; })) << story(id);
    expect_at_rest(id);
  }
  void other_code(const std::string& code) {
    system.start_worker(2, {{"SCENARIO_CODE", code}});
    system.start_worker(3, {{"SCENARIO_CODE", code}});
    // Both before it is parked: a worker that starts lets what is parked try again.
    EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM workers WHERE kind = 'resumer'") == 2; }));
  }
  void right_code() {
    system.worker(2).terminate();
    system.worker(3).terminate();
    system.start_worker(4);
  }
  // Other code meets the instance, which is parked with both sides named; then the right code comes.
  void expect_parked_then_fine(const std::string& code, const std::string& recorded, const std::string& came) {
    const auto id = waiting_for_other_code();
    const auto before = history(id);
    EXPECT_EQ(replay({id}).out, "");
    const Said replayed = replay({id}, code);
    EXPECT_EQ(replayed.exit_code, 1);
    other_code(code);
    publish(id, "go on", 1);
    expect_status(id, "stuck");
    EXPECT_THAT(note(id), AllOf(HasSubstr(recorded), HasSubstr(came)));
    EXPECT_THAT(replayed.out, HasSubstr(id + "': " + note(id))) << "what was exported and replayed says the same words";
    EXPECT_EQ(history(id), before) << "nothing was written";
    EXPECT_THAT(effects(id), ElementsAre("first"));
    right_code();
    expect_completed(id, "done");
    EXPECT_THAT(effects(id), ElementsAre("first"));
    EXPECT_EQ(note(id), "");
  }
};
ROMANCY_THEME(Determinism, Determinisms);

TEST_P(Determinism, AnotherActivityIsNoticed) { expect_parked_then_fine("other activity", "'mark'", "'undo'"); }
TEST_P(Determinism, ASleepWhereAnActivityWasIsNoticed) { expect_parked_then_fine("sleeps instead", "'mark'", "sleep"); }
TEST_P(Determinism, StepsInAnotherOrderAreNoticed) { expect_parked_then_fine("swapped", "'mark'", "sleep"); }
TEST_P(Determinism, AnotherChannelIsNoticed) { expect_parked_then_fine("other channel", "'go on'", "'elsewhere'"); }
TEST_P(Determinism, OneStepMoreInTheMiddleIsNoticed) { expect_parked_then_fine("one more before", "sleep", "'mark'"); }
TEST_P(Determinism, APublishThatWasNotThereIsNoticed) { expect_parked_then_fine("publishes", "'go on'", "'news'"); }
TEST_P(Determinism, AnEndThatComesTooEarlyIsNoticed) { expect_parked_then_fine("ends early", "'mark'", "completed"); }
TEST_P(Determinism, AnExceptionThatComesTooEarlyIsNoticed) { expect_parked_then_fine("throws early", "'mark'", "failed"); }

TEST_P(Determinism, MoreCodeAfterWhatWasRecordedIsNoMismatch) {
  const auto id = waiting_for_other_code();
  other_code("more after");
  publish(id, "go on", 1);
  expect_completed(id, "done");
  EXPECT_THAT(effects(id), ElementsAre("first", "later"));
  EXPECT_EQ(replay({id}, "more after").out, "");
  EXPECT_THAT(replay({id}).out, HasSubstr("'mark'"));  // what ran is the new code's by now
}

TEST_P(Determinism, APatchIsForThoseWhoHaveNotComeToIt) {
  const auto id = waiting_for_other_code();
  other_code("patched");
  const auto fresh = start("changing", "", "b");
  expect_at_rest_in_wait(fresh);
  for (const auto& one : {id, fresh}) {
    publish(one, "go on", 1);
    expect_completed(one, "done");
  }
  EXPECT_THAT(effects(id), ElementsAre("first", "later"));
  EXPECT_THAT(effects(fresh), ElementsAre("second", "first", "later"));
  EXPECT_EQ(one("SELECT string_agg(name, ' ' ORDER BY seq) FROM workflow_history WHERE instance_id = $1 AND kind = 'patched'", pg::Params(id)), "late");
  EXPECT_EQ(history_count(fresh, "patched"), 2);
}

TEST_P(Determinism, AStuckInstanceKeepsItsMessagesAndCanBeShown) {
  const auto id = waiting_for_other_code();
  other_code("other activity");
  publish(id, "go on", 1);
  expect_status(id, "stuck");
  EXPECT_GT(publish(id, "go on", 2), 0);
  EXPECT_THAT(romancy({"show", id}).out, HasSubstr("undo"));
  right_code();
  expect_completed(id, "done");
}

TEST_P(Determinism, TheOperatorMayLetItTryAgain) {
  const auto id = waiting_for_other_code();
  other_code("other activity");
  publish(id, "go on", 1);
  expect_status(id, "stuck");
  EXPECT_EQ(romancy({"resume", id}).exit_code, 0);
  // The same code: parked again, with the same reason, and nothing was lost by trying.
  expect_status(id, "stuck");
  EXPECT_THAT(note(id), HasSubstr("undo"));
  right_code();
  expect_completed(id, "done");
}

TEST_P(Determinism, OneStuckInstanceDoesNotHoldUpTheOthers) {
  const auto id = waiting_for_other_code();
  other_code("other activity");
  publish(id, "go on", 1);
  for (int i = 0; i < 20; ++i) start("one_step", "x", std::to_string(i));
  for (int i = 0; i < 20; ++i) expect_completed(mine(std::to_string(i)), "x");
  expect_status(id, "stuck");
  right_code();
  expect_completed(id, "done");
}

}  // namespace
}  // namespace romancy::test
