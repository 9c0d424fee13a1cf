// The engine with real parts: PostgreSQL, the listener, the timer, and worker processes. Each test runs three times: with
// the listener; by polling alone; and with no suspended workflow kept in memory, so that every turn is a replay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <map>

#include "tests/support/system.hpp"

namespace romancy::test {
namespace {

enum class Mode { listening, polling_alone, always_replaying };

class Engine : public testing::TestWithParam<Mode> {
 protected:
  Engine()
      : system({.listen = GetParam() != Mode::polling_alone,
                .conninfo = {},
                .extra = GetParam() == Mode::always_replaying ? "[worker]\ncache_instances = 0\n" : "",
                .worker = "test_worker"}) {}

  std::int64_t effects(const std::string& like) {
    return system.count("SELECT coalesce(sum(times), 0) FROM effects WHERE key LIKE $1", pg::Params(like));
  }
  std::int64_t effect_keys(const std::string& like) {
    return system.count("SELECT count(*) FROM effects WHERE key LIKE $1", pg::Params(like));
  }
  void open_gate(const std::string& name) { system.sql("INSERT INTO gates VALUES ($1)", pg::Params(name)); }
  void publish(const std::string& to, const std::string& channel, const std::string& data) {
    system.sql("SELECT publish($1, $2::jsonb, target_instance_id => $3)", pg::Params(channel, data, to));
  }
  // Waits until nobody holds the instance and nothing is unread: it is suspended.
  void expect_suspended(const std::string& id) {
    EXPECT_TRUE(eventually([&] {
      return system.count("SELECT count(*) FROM instances i WHERE instance_id = $1 AND session_id IS NULL AND status = 1 "
                          "AND NOT EXISTS (SELECT FROM inbox b WHERE b.instance_id = $1 AND NOT seen) "
                          "AND EXISTS (SELECT FROM history h WHERE h.instance_id = $1)",
                          pg::Params(id)) == 1;
    })) << id << " is not suspended";
  }

  System system;
};

std::string name_of(const testing::TestParamInfo<Mode>& mode) {
  switch (mode.param) {
    case Mode::listening: return "Listening";
    case Mode::polling_alone: return "PollingAlone";
    case Mode::always_replaying: return "AlwaysReplaying";
  }
  return "?";
}
INSTANTIATE_TEST_SUITE_P(Modes, Engine,
                         testing::Values(Mode::listening, Mode::polling_alone, Mode::always_replaying), name_of);

TEST_P(Engine, AStartedWorkflowCompletesWithItsOutput) {
  system.start_all();
  system.start("echo", R"({"a": [1, 2, {"b": null}]})", "e1");
  system.expect_status("e1", "completed");
  EXPECT_EQ(system.output("e1"), R"({"a": [1, 2, {"b": null}]})");
  system.expect_quiescent();
}

TEST_P(Engine, HooksAreToldOfEveryRowOfHistoryOnceAlsoOfWorkflowsThatWereSuspended) {
  const std::string path = system.dir().path() + "/hooks";
  system.start_timer();
  for (const int number : {1, 2}) system.start_worker(number, {{"ROMANCY_TEST_HOOKS", path}});
  for (const std::string id : {"finishes", "cancelled"}) system.start("tour", "0", id);
  for (const std::string id : {"finishes", "cancelled"}) {
    const auto waits = [&] {
      return system.count("SELECT count(*) FROM workflow_history WHERE instance_id = $1 AND kind = 'wait_started' AND name = 'go on'",
                          pg::Params(id)) == 1;
    };
    ASSERT_TRUE(eventually(waits)) << id;
    publish(id, "go on", "1");
    ASSERT_TRUE(eventually([&] {
      return system.count("SELECT generation FROM workflow_instances WHERE instance_id = $1", pg::Params(id)) == 1;
    }));
    ASSERT_TRUE(eventually(waits)) << id;
  }
  system.sql("SELECT cancel_workflow('cancelled', 'enough')");
  publish("finishes", "go on", "1");
  system.expect_status("finishes", "completed");
  system.expect_status("cancelled", "cancelled");

  // What the workers have told is compared with what the database has, when they had said all they had to say.
  for (const int number : {1, 2}) EXPECT_EQ(system.worker(number).terminate(), 0) << system.worker(number).log();
  std::map<std::string, int> told;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) ++told[line];
  const auto rows = system.sql(
      "SELECT kind || '|' || h.instance_id || '|' || i.generation || '|' || h.seq || '|' || h.op "
      "  FROM workflow_history h JOIN workflow_instances i USING (instance_id) "
      "UNION ALL SELECT kind || '|' || instance_id || '|' || generation || '|' || seq || '|' || op "
      "  FROM workflow_history_archive");
  ASSERT_GT(rows.size(), 60);
  for (int i = 0; i < rows.size(); ++i) EXPECT_EQ(told[rows.str(i, 0)], 1) << rows.str(i, 0);
  const auto times = [&](const std::string& line) { return told[line]; };
  EXPECT_EQ(times("compensating|cancelled|1|0|0"), 1);
  EXPECT_EQ(times("compensating|finishes|1|0|0"), 0);
  EXPECT_EQ(times("attempt_started 1|finishes|0|0|6"), 1);
  EXPECT_EQ(times("attempt_ended 1 failed|finishes|0|0|6"), 1);
  EXPECT_EQ(times("attempt_ended 2 ok|finishes|0|0|6"), 1);
  EXPECT_TRUE(system.worker(1).logged("a hook threw") || system.worker(2).logged("a hook threw"));
}

TEST_P(Engine, AWorkerWorksAloneWithoutTheOtherProcesses) {
  system.start_worker(1);
  system.start("steps", "3", "s1");
  system.expect_status("s1", "completed");
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();
  system.expect_quiescent();
}

TEST_P(Engine, AWorkerAskedOnceDoesWhatIsDueAndExits) {
  for (int i = 0; i < 20; ++i) system.start("steps", "2", "s" + std::to_string(i));
  system.start_worker(1, {}, {"--once"});
  const int status = system.worker(1).wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << system.worker(1).log();
  EXPECT_EQ(system.count("SELECT count(*) FROM workflow_instances WHERE status = 'completed'"), 20);
  system.expect_quiescent();
}

TEST_P(Engine, EveryActivityOfManyWorkflowsHappensOnce) {
  system.start_all(2);
  for (int i = 0; i < 60; ++i) system.start("steps", "5", "s" + std::to_string(i));
  for (int i = 0; i < 60; ++i) system.expect_status("s" + std::to_string(i), "completed");
  EXPECT_EQ(effect_keys("step %"), 300);
  EXPECT_EQ(effects("step %"), 300);
  system.expect_quiescent();
}

TEST_P(Engine, SleepingWorkflowsWakeUpAndGoOnWhereTheyWere) {
  system.start_all(2);
  for (int i = 0; i < 20; ++i) system.start("naps", "4", "n" + std::to_string(i));
  for (int i = 0; i < 20; ++i) system.expect_status("n" + std::to_string(i), "completed");
  EXPECT_EQ(effects("before %"), 80);
  system.expect_quiescent();
}

TEST_P(Engine, AStructResultSurvivesSuspensionAndReplayInAnotherProcess) {
  system.start_all(1);
  system.start("parcel", R"({"id": "p-1", "cents": 9007199254740993, "items": ["é\"\\", "b"]})", "p1");
  expect_suspended("p1");
  system.worker(1).kill9();  // what was in memory is gone
  system.start_worker(2);
  publish("p1", "note", R"({"text": "hello"})");
  system.expect_status("p1", "completed");
  EXPECT_EQ(system.output("p1"), R"({"id": "p-1", "cents": 9007199254740993, "items": ["é\"\\", "b", "label", "hello"]})");
  EXPECT_EQ(effects("pack|%"), 1);
  system.expect_quiescent();
}

TEST_P(Engine, MessagesSentBeforeTheReceiveAllArriveInOrder) {
  system.start_all(2);
  system.start("mailbox", "20", "m1");
  for (int i = 0; i < 20; ++i) publish("m1", "mail", std::to_string(i));
  system.expect_status("m1", "completed");
  EXPECT_EQ(system.output("m1"), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]");
  system.expect_quiescent();
}

// Such a publisher only leaves its messages, and a worker sends them on.
TEST_P(Engine, MessagesPublishedUnderAnOldSnapshotArriveInOrderToo) {
  system.start_all(2);
  system.start("mailbox", "3", "m1");
  expect_suspended("m1");
  system.sql("BEGIN ISOLATION LEVEL REPEATABLE READ");
  for (int i = 0; i < 3; ++i) publish("m1", "mail", std::to_string(i));
  system.sql("COMMIT");
  system.expect_status("m1", "completed");
  EXPECT_EQ(system.output("m1"), "[0, 1, 2]");
  system.expect_quiescent();
}

TEST_P(Engine, AMessageLeftBehindIsFoundByALaterRunInAnotherProcess) {
  system.start_all(1);
  system.start("two_channels", "null", "t1");
  expect_suspended("t1");
  publish("t1", "second", "2");  // nobody waits for it yet
  EXPECT_TRUE(eventually([&] {
    return system.count("SELECT count(*) FROM inbox WHERE instance_id = 't1' AND seen") == 1;
  }));
  system.worker(1).kill9();
  system.start_worker(2);
  publish("t1", "first", "1");
  system.expect_status("t1", "completed");
  EXPECT_EQ(system.output("t1"), "[1, 2]");
  system.expect_quiescent();
}

// "Subscribe, then ask by an activity" must not lose the reply. The commit of the subscription is held up by a lock of
// ours; meanwhile another worker does a whole workflow, so an activity that does not wait has had all the time it needs.
TEST_P(Engine, ASubscriptionIsCommittedBeforeTheNextActivityStarts) {
  system.sql(
      "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS "
      "$$BEGIN PERFORM pg_advisory_xact_lock(hashtextextended(current_schema(), 0)); RETURN NEW; END$$");
  system.sql("CREATE TRIGGER wait_here BEFORE INSERT ON subscriptions FOR EACH ROW EXECUTE FUNCTION wait_here()");
  system.sql("SELECT pg_advisory_lock(hashtextextended(current_schema(), 0))");
  system.start_all(2);
  system.start("listening", "null", "l1");
  ASSERT_TRUE(eventually([&] {
    return system.count("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))") == 1;
  }));
  system.start("steps", "3", "s1");
  system.expect_status("s1", "completed");
  EXPECT_EQ(effects("subscribed|%"), 0);
  system.sql("SELECT pg_advisory_unlock(hashtextextended(current_schema(), 0))");
  // The activity's effect proves that it started: from then on a broadcast must arrive.
  ASSERT_TRUE(eventually([&] { return effects("subscribed|%") == 1; }));
  system.sql("SELECT publish('news', '7')");
  system.expect_status("l1", "completed");
  EXPECT_EQ(system.output("l1"), "7");
  system.expect_quiescent();
}

TEST_P(Engine, AWaitThatNobodyAnswersTimesOut) {
  system.start_all(1);
  system.start("patient", "50", "w1");
  system.expect_status("w1", "completed");
  EXPECT_EQ(system.output("w1"), "\"timed out\"");
  system.expect_quiescent();
}

TEST_P(Engine, PublishAndOutboxHappenOnceHoweverOftenTheWorkflowIsReplayed) {
  system.start_all(2);
  system.start("mailbox", "2", "m1");
  system.start("once", "\"m1\"", "o1");
  system.expect_status("o1", "completed");
  EXPECT_EQ(system.count("SELECT count(*) FROM outbox"), 1);
  EXPECT_EQ(system.count("SELECT count(*) FROM outbox WHERE data -> 'n' = '9007199254740993'"), 1);
  publish("m1", "mail", "2");
  system.expect_status("m1", "completed");
  EXPECT_EQ(system.output("m1"), "[1, 2]");
  system.sql("DELETE FROM outbox");
  system.expect_quiescent();
}

TEST_P(Engine, AFailingActivityIsTriedAgainWithTheSameKey) {
  system.start_all(1);
  system.start("retrying", "2", "r1");
  system.expect_status("r1", "completed");
  EXPECT_EQ(system.output("r1"), "3");
  EXPECT_EQ(effect_keys("flaky|%"), 1);
  EXPECT_EQ(effects("flaky|%"), 3);
  system.start("retrying", "99", "r2");
  system.expect_status("r2", "failed");
  system.expect_quiescent();
}

TEST_P(Engine, ACancelledWorkflowUndoesWhatItDidNewestFirst) {
  system.start_all(1);
  system.start("saga", "\"x\"", "g1");
  expect_suspended("g1");
  system.sql("SELECT cancel_workflow('g1', 'changed my mind')");
  system.expect_status("g1", "cancelled");
  EXPECT_EQ(system.count("SELECT count(*) FROM history WHERE instance_id = 'g1' AND name = 'undo' AND kind = 2"), 2);
  EXPECT_EQ(effects("undo|x 2|%"), 1);
  EXPECT_EQ(effects("undo|x 1|%"), 1);
  system.expect_quiescent();
}

TEST_P(Engine, CancelReachesARunningActivity) {
  system.start_all(1);
  system.start("holder", "\"h\"", "h1");
  ASSERT_TRUE(eventually([&] { return effects("held|h") == 1; }));
  system.sql("SELECT cancel_workflow('h1')");
  system.expect_status("h1", "cancelled");  // nobody opened the gate: the activity heard the stop
  EXPECT_EQ(effects("stopped|h"), 1);
  system.expect_quiescent();
}

TEST_P(Engine, WorkOfAKilledWorkerGoesOnInAnother) {
  system.start_all(1);
  for (int i = 0; i < 5; ++i) system.start("holder", "\"k" + std::to_string(i) + "\"", "k" + std::to_string(i));
  ASSERT_TRUE(eventually([&] { return effects("held|k%") == 5; }));
  system.worker(1).kill9();
  system.start_worker(2);
  for (int i = 0; i < 5; ++i) open_gate("k" + std::to_string(i));
  for (int i = 0; i < 5; ++i) system.expect_status("k" + std::to_string(i), "completed");
  EXPECT_EQ(effects("held|k%"), 10);  // each attempt again, with the same key
  system.expect_quiescent();
}

TEST_P(Engine, AStalledWorkerThatComesBackLateWritesNothing) {
  system.start_all(1);
  system.start("holder", "\"z\"", "z1");
  ASSERT_TRUE(eventually([&] { return effects("held|z") == 1; }));
  system.worker(1).signal(SIGSTOP);
  // The timer ends the session once it has expired; another worker takes over.
  system.start_worker(2);
  ASSERT_TRUE(eventually([&] { return effects("held|z") == 2; }));
  open_gate("z");
  system.expect_status("z1", "completed");
  system.worker(1).signal(SIGCONT);
  ASSERT_TRUE(eventually([&] { return system.worker(1).logged("session lost"); })) << system.worker(1).log();
  EXPECT_EQ(system.count("SELECT count(*) FROM history WHERE instance_id = 'z1' AND kind = 2"), 1);
  // In its new session it works again.
  system.worker(2).terminate();
  system.start("steps", "2", "s1");
  system.expect_status("s1", "completed");
  system.expect_quiescent();
}

TEST_P(Engine, AMismatchParksTheInstanceAndTheRightCodeGoesOn) {
  system.start_all(1);
  system.start("changing", "null", "c1");
  expect_suspended("c1");
  system.worker(1).terminate();
  system.start_worker(2, {{"ROMANCY_TEST_OTHER_CODE", "1"}});
  publish("c1", "go on", "1");
  system.expect_status("c1", "stuck");
  const auto note = system.sql("SELECT note FROM workflow_instances WHERE instance_id = 'c1'").str(0, 0);
  EXPECT_THAT(note, testing::HasSubstr("mark"));
  EXPECT_THAT(note, testing::HasSubstr("undo"));
  system.worker(2).terminate();
  system.start_worker(3);
  system.expect_status("c1", "completed");
  EXPECT_EQ(effects("changed|%"), 1);
  system.expect_quiescent();
}

TEST_P(Engine, AParkedConsumerLeavesItsJobsToOthersAndTakesThemAgainWhenItGoesOn) {
  const auto publish_job = [&](const std::string& job) {
    system.sql("SELECT publish('jobs', to_jsonb($1::text))", pg::Params(job));
  };
  system.start_all(1);
  system.start("changing_consumer", "null", "parked");
  expect_suspended("parked");
  system.worker(1).terminate();
  system.start_worker(2, {{"ROMANCY_TEST_OTHER_CODE", "1"}});
  publish_job("first");  // it is matched to the only one that waits, whose code is another now
  system.expect_status("parked", "stuck");
  system.start("consumer", "1", "other");
  ASSERT_TRUE(eventually([&] { return effect_keys("held|first") == 1; })) << "the other one has it";
  publish_job("second");  // the other one takes no more
  open_gate("first");
  system.expect_status("other", "completed");
  system.worker(2).terminate();
  system.start_worker(3);
  system.expect_status("parked", "completed");
  EXPECT_EQ(system.output("parked"), "\"second\"");
  system.expect_quiescent();
}

TEST_P(Engine, AWorkflowThatKillsItsWorkersIsParked) {
  system.start_all(0);
  system.start("killer", "null", "k1");
  // Whatever hints and looks come in between: five die, and the sixth parks it.
  for (int i = 1; i <= 6; ++i) {
    system.start_worker(i);
    if (i > 1) system.sql("SELECT publish('nudge', '1', '{}', 'k1')");
    ASSERT_TRUE(eventually([&] {
      return !system.worker(i).running() ||
             system.count("SELECT count(*) FROM workflow_instances WHERE instance_id = 'k1' AND status = 'stuck'") == 1;
    }));
    EXPECT_EQ(system.worker(i).running(), i == 6) << i << "\n" << system.worker(i).log();
  }
  system.expect_status("k1", "stuck");
  system.start("echo", "1", "e1");
  system.expect_status("e1", "completed");  // the worker that parked it lives
}

TEST_P(Engine, AWorkflowThatKillsItsWorkersLaterOnIsParkedToo) {
  system.start_all(0);
  system.start("later_killer", "null", "k1");
  // Whatever hints and looks come in between: five die, and the sixth parks it.
  for (int i = 1; i <= 6; ++i) {
    system.start_worker(i);
    if (i > 1) system.sql("SELECT publish('nudge', '1', '{}', 'k1')");
    ASSERT_TRUE(eventually([&] {
      return !system.worker(i).running() ||
             system.count("SELECT count(*) FROM workflow_instances WHERE instance_id = 'k1' AND status = 'stuck'") == 1;
    }));
    EXPECT_EQ(system.worker(i).running(), i == 6) << i << "\n" << system.worker(i).log();
  }
  system.expect_status("k1", "stuck");
  EXPECT_EQ(effects("first|%"), 1);
}

// Its neighbours are busy with one long activity each: they make no progress from one death to the next.
TEST(Poison, AWorkflowThatKillsItsWorkersIsParkedAndNoneOfItsNeighbours) {
  System system(SystemOptions{});
  system.start_all(0);
  for (const char* name : {"n1", "n2"}) system.start("holder", "\"gate\"", name);
  system.start("killer", "null", "k1");
  const auto stuck = [&](const std::string& id) {
    return system.count("SELECT count(*) FROM workflow_instances WHERE instance_id = $1 AND status = 'stuck'",
                        pg::Params(id));
  };
  int last = 0;
  while (last < 6 && stuck("k1") == 0) {
    system.start_worker(++last);
    ASSERT_TRUE(eventually([&] { return !system.worker(last).running() || stuck("k1") == 1; }));
  }
  system.expect_status("k1", "stuck");
  for (const char* name : {"n1", "n2"}) EXPECT_EQ(stuck(name), 0) << name;
  if (!system.worker(last).running()) system.start_worker(last + 1);
  system.sql("INSERT INTO gates VALUES ('gate')");
  for (const char* name : {"n1", "n2"}) system.expect_status(name, "completed");
  system.expect_quiescent();
}

TEST_P(Engine, AMessageThatCannotBeReadParksItsInstanceAlone) {
  for (int i = 0; i < 10; ++i) system.start("mailbox", "1", "m" + std::to_string(i));
  system.start("mailbox", "1", "bad");
  for (int i = 0; i < 10; ++i) publish("m" + std::to_string(i), "mail", "1");
  publish("bad", "mail", "1");
  // publish() refuses such a number; this is what a writer beside the API, or an older version, may have left.
  system.sql("UPDATE inbox SET data = '1e400' WHERE instance_id = 'bad' AND kind = 2");
  system.start_all(1);
  system.expect_status("bad", "stuck");
  for (int i = 0; i < 10; ++i) system.expect_status("m" + std::to_string(i), "completed");
  // The same for one that comes while the instance is held.
  system.start("holder", "\"u\"", "u1");
  ASSERT_TRUE(eventually([&] { return effects("held|u") == 1; }));
  system.sql("WITH m AS (INSERT INTO inbox (instance_id, kind, name, data, metadata, message_id) VALUES ('u1', 2, 'x', '1e400', '{}', 1)) "
             "SELECT 1");
  open_gate("u");
  system.expect_status("u1", "stuck");
  system.start("echo", "1", "e1");
  system.expect_status("e1", "completed");
}

TEST_P(Engine, ABacklogLargerThanALookIsReadToItsEnd) {
  system.start_all(1);
  system.start("two_channels_many", "250", "t1");
  expect_suspended("t1");
  for (int i = 0; i < 250; ++i) publish("t1", "second", std::to_string(i));
  EXPECT_TRUE(eventually([&] {
    return system.count("SELECT count(*) FROM inbox WHERE instance_id = 't1' AND seen") == 250;
  }));
  system.worker(1).kill9();
  system.start_worker(2);
  publish("t1", "first", "0");
  system.expect_status("t1", "completed");
  EXPECT_EQ(system.count("SELECT jsonb_array_length(output) FROM workflow_result('t1')"), 250);
  EXPECT_EQ(system.count("SELECT (output ->> 249)::int FROM workflow_result('t1')"), 249);
  system.expect_quiescent();
}

TEST_P(Engine, AWorkerThatIsStoppedHandsItsWorkOver) {
  system.start_all(1);
  system.start("holder", "\"d\"", "d1");
  system.start("saga", "\"s\"", "s1");
  ASSERT_TRUE(eventually([&] { return effects("held|d") == 1; }));
  expect_suspended("s1");
  open_gate("d");
  EXPECT_EQ(system.worker(1).terminate(), 0) << system.worker(1).log();
  EXPECT_EQ(system.count("SELECT count(*) FROM sessions WHERE kind = 'resumer'"), 0);
  system.start_worker(2);
  publish("s1", "go on", "1");
  system.expect_status("s1", "completed");
  system.expect_status("d1", "completed");
  EXPECT_EQ(effects("held|d"), 1);  // its result was recorded before the worker ended
  system.expect_quiescent();
}

TEST_P(Engine, AWorkerWhoseConnectionIsCutBeginsANewSession) {
  system.start_all(1);
  system.start("naps", "200", "n1");
  ASSERT_TRUE(eventually([&] { return effects("before %") >= 5; }));
  const auto before = system.count("SELECT session_id FROM sessions WHERE kind = 'resumer'");
  system.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
             "AND (classid::bigint << 32) | objid::bigint = $1 AND granted",
             pg::Params(before));
  ASSERT_TRUE(eventually([&] {
    return system.count("SELECT count(*) FROM sessions WHERE kind = 'resumer' AND session_id <> $1", pg::Params(before)) == 1;
  }));
  const auto done = effects("before %");
  ASSERT_TRUE(eventually([&] { return effects("before %") >= done + 5; }));  // it goes on
  system.sql("SELECT cancel_workflow('n1')");
  system.expect_status("n1", "cancelled");
  system.expect_quiescent();
}

TEST_P(Engine, ATwiceStartedInstanceRunsOnce) {
  system.start_all(2);
  for (int i = 0; i < 10; ++i) {
    system.start("steps", "2", "t" + std::to_string(i));
    system.start("steps", "2", "t" + std::to_string(i));
  }
  for (int i = 0; i < 10; ++i) system.expect_status("t" + std::to_string(i), "completed");
  EXPECT_EQ(effects("step %"), 20);
  system.expect_quiescent();
}

TEST_P(Engine, InputThatDoesNotFitFailsTheWorkflowAndNamesTheField) {
  system.start_all(1);
  system.start("parcel", R"({"id": "p", "cents": "many", "items": []})", "p1");
  system.expect_status("p1", "failed");
  EXPECT_THAT(system.sql("SELECT error::text FROM workflow_result('p1')").str(0, 0), testing::HasSubstr("cents"));
  system.expect_quiescent();
}

TEST_P(Engine, DataThatTheDatabaseRefusesFailsItsOwnWorkflowAloneInTheBatch) {
  system.sql("ALTER TABLE history ADD CONSTRAINT no_poison CHECK (data IS DISTINCT FROM '\"poison\"')");
  // Started before the worker, so that they are claimed, and committed, together.
  for (int i = 0; i < 30; ++i) system.start("naps", "1", "n" + std::to_string(i));
  system.start("echo", "\"poison\"", "b1");
  for (int i = 30; i < 60; ++i) system.start("naps", "1", "n" + std::to_string(i));
  system.start_all(1);
  system.expect_status("b1", "failed");
  EXPECT_THAT(system.sql("SELECT error::text FROM workflow_result('b1')").str(0, 0), testing::HasSubstr("no_poison"));
  for (int i = 0; i < 60; ++i) system.expect_status("n" + std::to_string(i), "completed");
  system.expect_quiescent();
}

TEST_P(Engine, AWorkflowOfAnotherProgramIsNeverTaken) {
  system.start_all(1);
  system.start("nobody_serves_this", "1", "x1");
  system.start("echo", "1", "e1");
  system.expect_status("e1", "completed");
  EXPECT_EQ(system.count("SELECT count(*) FROM pokes WHERE instance_id = 'x1'"), 1);
  EXPECT_EQ(system.count("SELECT lease_token FROM instances WHERE instance_id = 'x1'"), 0);
}

// Competing channels by notifications alone: no poll finds anything within an hour. One worker, which the hub tells of
// every channel; the instance that a hint names says nothing about who can match.
class Notified : public testing::Test {
 protected:
  System system{{.conninfo = {}, .extra = {}, .worker = "test_worker", .fallback = "1h"}};

  void open_gate(const std::string& name) { system.sql("INSERT INTO gates VALUES ($1)", pg::Params(name)); }
  void publish(const std::string& job) {
    system.sql("SELECT publish('jobs', to_jsonb($1::text))", pg::Params(job));
  }
  bool done(const std::string& key) {
    return eventually([&] { return system.count("SELECT count(*) FROM effects WHERE key = $1", pg::Params(key)) == 1; });
  }
  bool waiting(int count) {
    return eventually([&] { return system.count("SELECT count(*) FROM channel_waits") == count; });
  }
  void start() {
    system.start_all(1);
    ASSERT_TRUE(eventually([&] { return system.worker().logged("session started"); }));
  }
};

TEST_F(Notified, MessagesPublishedWhileOneConsumerIsBusyReachTheOther) {
  start();
  for (const std::string id : {"c1", "c2"}) system.start("consumer", "2", id);
  ASSERT_TRUE(waiting(2));
  publish("first");
  ASSERT_TRUE(done("held|first"));
  publish("second");
  EXPECT_TRUE(done("held|second")) << "by the other one";
  publish("third");  // both are busy: it waits for whoever is free first
  open_gate("second");
  EXPECT_TRUE(done("held|third"));
  publish("fourth");
  for (const char* job : {"first", "third", "fourth"}) open_gate(job);
  for (const std::string id : {"c1", "c2"}) system.expect_status(id, "completed");
  EXPECT_EQ(system.count("SELECT count(DISTINCT x) FROM workflow_instances, jsonb_array_elements(output) x"), 4);
  system.expect_quiescent();
}

TEST_F(Notified, AMessageReachesAnInstanceThatWaitsWhileItIsBusy) {
  start();
  system.start("two_handed", "\"busy\"", "t1");
  ASSERT_TRUE(done("held|busy"));
  ASSERT_TRUE(waiting(1));
  publish("job");  // the hint names t1, which this worker holds: it has to match all the same
  EXPECT_TRUE(eventually([&] { return system.count("SELECT count(*) FROM effects WHERE key LIKE 'job|%'") == 1; }));
  open_gate("busy");
  system.expect_status("t1", "completed");
  system.expect_quiescent();
}

}  // namespace
}  // namespace romancy::test
