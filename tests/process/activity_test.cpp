// The three kinds of activities with real parts: what is promised of them while workers are killed, leases are lost, the
// database goes away, and time runs out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/proxy.hpp"
#include "tests/support/system.hpp"

namespace romancy::test {
namespace {

enum class Mode { listening, polling_alone, always_replaying };

std::string name_of(Mode mode) {
  switch (mode) {
    case Mode::listening: return "Listening";
    case Mode::polling_alone: return "PollingAlone";
    case Mode::always_replaying: return "AlwaysReplaying";
  }
  return "?";
}

// One account with 100 cents, bookings that only COMMIT checks against it, and gates: gate(name) waits while a test has
// closed it. 'statement' is in the user's code, 'fence' before the lease is looked at, 'record' after that, 'commit' in
// COMMIT itself.
class Bank {
 public:
  explicit Bank(Mode mode, std::string conninfo = {}, const std::string& more = {}, std::string through = {})
      : system({.listen = mode != Mode::polling_alone,
                .conninfo = std::move(conninfo),
                .through = std::move(through),
                .extra = "[worker]\n" + more + (mode == Mode::always_replaying ? "cache_instances = 0\n" : ""),
                .worker = "test_activity_worker"}) {
    const std::string key = "hashtextextended('" + system.schema() + "' || name, 0)";
    system.sql("CREATE FUNCTION gate(name text) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_xact_lock_shared(" +
               key + "); END$$");
    system.sql("CREATE FUNCTION gate_here() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS "
               "$$BEGIN PERFORM gate(TG_ARGV[0]); RETURN NEW; END$$");
    system.sql("CREATE FUNCTION close_gate(name text) RETURNS void LANGUAGE sql AS $$SELECT pg_advisory_lock(" + key + ")$$");
    system.sql("CREATE FUNCTION open_gate(name text) RETURNS boolean LANGUAGE sql AS $$SELECT pg_advisory_unlock(" + key + ")$$");
    system.sql("ALTER FUNCTION commit_activity RENAME TO commit_activity_inner");
    system.sql("CREATE FUNCTION commit_activity(bigint, text, bigint, bigint, int, smallint, text, text) RETURNS boolean "
               "LANGUAGE plpgsql SET search_path FROM CURRENT AS "
               "$$BEGIN PERFORM gate('fence'); RETURN commit_activity_inner($1, $2, $3, $4, $5, $6, $7, $8); END$$");
    system.sql("CREATE TABLE accounts (id text PRIMARY KEY, cents bigint NOT NULL)");
    // (The sequence of `made` counts those that were rolled back too.)
    system.sql("CREATE TABLE bookings (account text REFERENCES accounts DEFERRABLE INITIALLY DEFERRED, attempt int, key text, "
               "made bigserial)");
    system.sql("CREATE CONSTRAINT TRIGGER commits AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED "
               "FOR EACH ROW EXECUTE FUNCTION gate_here('commit')");
    system.sql("CREATE TRIGGER records BEFORE INSERT ON history FOR EACH ROW "
               "WHEN (NEW.kind = 2 AND NEW.name IN ('debit', 'strict', 'hasty')) EXECUTE FUNCTION gate_here('record')");
    system.sql("INSERT INTO accounts VALUES ('a', 100)");
  }
  void close(const std::string& gate) { system.sql("SELECT close_gate($1)", pg::Params(gate)); }
  void open(const std::string& gate) { system.sql("SELECT open_gate($1)", pg::Params(gate)); }
  // Somebody stands before a gate of ours.
  void expect_waiting() {
    EXPECT_TRUE(eventually([&] {
      return system.count("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))") > 0;
    })) << "nobody came to the gate\n" << system.worker(1).log();
  }
  std::int64_t cents() { return system.count("SELECT cents FROM accounts WHERE id = 'a'"); }
  std::int64_t bookings() { return system.count("SELECT count(*) FROM bookings"); }
  std::int64_t results(const std::string& id) {
    return system.count("SELECT count(*) FROM history WHERE instance_id = $1 AND kind = 2", pg::Params(id));
  }
  std::int64_t expect_paid_once(const std::string& id) {
    system.expect_status(id, "completed");
    EXPECT_EQ(system.output(id), "90");
    EXPECT_EQ(cents(), 90);
    EXPECT_EQ(bookings(), 1);
    EXPECT_EQ(results(id), 1);
    system.expect_quiescent();
    return system.count("SELECT attempt FROM bookings");
  }

  System system;
};

class Activities : public testing::TestWithParam<Mode> {};
INSTANTIATE_TEST_SUITE_P(Modes, Activities, testing::Values(Mode::listening, Mode::polling_alone, Mode::always_replaying),
                         [](const auto& each) { return name_of(each.param); });

const std::string kDebit = R"({"account": "a", "cents": 10})";

TEST_P(Activities, ATransactionalOneCommitsItsEffectWithItsResult) {
  Bank bank(GetParam());
  bank.system.start_all(2);
  bank.system.start("debit", kDebit, "d1");
  EXPECT_EQ(bank.expect_paid_once("d1"), 1);
  EXPECT_EQ(bank.system.count("SELECT count(*) FROM bookings WHERE key = 'd1:1:0'"), 1);
  for (int i = 0; i < 20; ++i) bank.system.start("debit", R"({"account": "a", "cents": 1})", "m" + std::to_string(i));
  for (int i = 0; i < 20; ++i) bank.system.expect_status("m" + std::to_string(i), "completed");
  EXPECT_EQ(bank.cents(), 70);
  EXPECT_EQ(bank.bookings(), 21);
  bank.system.expect_quiescent();
}

class Kills : public testing::TestWithParam<std::tuple<Mode, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Steps, Kills,
                         testing::Combine(testing::Values(Mode::listening, Mode::polling_alone, Mode::always_replaying),
                                          testing::Values("statement", "fence", "record", "commit")),
                         [](const auto& each) { return name_of(std::get<0>(each.param)) + "_" + std::get<1>(each.param); });

TEST_P(Kills, ATransactionalOneTakesEffectOnceWhereverItsWorkerIsKilled) {
  Bank bank(std::get<0>(GetParam()));
  const std::string gate = std::get<1>(GetParam());
  bank.close(gate);
  bank.system.start_all(1);
  bank.system.start("debit", kDebit, "d1");
  bank.expect_waiting();
  EXPECT_EQ(bank.cents(), 100);
  EXPECT_EQ(bank.results("d1"), 0);
  bank.system.worker(1).kill9();
  bank.system.start_worker(2);
  bank.open(gate);
  bank.expect_paid_once("d1");
}

TEST_P(Kills, ATransactionWhoseConnectionIsCutLeavesNothingOrIsDone) {
  Bank bank(std::get<0>(GetParam()));
  const std::string gate = std::get<1>(GetParam());
  bank.close(gate);
  bank.system.start_all(1);
  bank.system.start("debit", kDebit, "d1");
  bank.expect_waiting();
  bank.system.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))");
  bank.open(gate);
  bank.expect_paid_once("d1");
}

// The worker cannot know what became of its transaction, and asks history: it is there, or it is not.
struct LostCommit {
  Proxy::Fate fate;
  int made;  // attempts until the end
  const char* name;
};
class LostCommits : public testing::TestWithParam<std::tuple<Mode, LostCommit>> {};
INSTANTIATE_TEST_SUITE_P(Commits, LostCommits,
                         testing::Combine(testing::Values(Mode::listening, Mode::polling_alone, Mode::always_replaying),
                                          testing::Values(LostCommit{Proxy::Fate::answer_cut, 1, "Answer"},
                                                          LostCommit{Proxy::Fate::cut, 2, "Request"})),
                         [](const auto& each) { return name_of(std::get<0>(each.param)) + "_" + std::get<1>(each.param).name; });

TEST_P(LostCommits, ATransactionTakesEffectOnceWhetherItsCommitArrivedOrNot) {
  const auto& [mode, lost] = GetParam();
  Proxy proxy(test_conninfo());
  Bank bank(mode, {}, {}, proxy.conninfo());
  proxy.rules({{.way = Proxy::Way::to_server, .type = 'Q', .text = "COMMIT", .fate = lost.fate, .times = 1}});
  bank.system.start_all(1);
  bank.system.start("debit", kDebit, "d1");
  bank.expect_paid_once("d1");
  EXPECT_EQ(proxy.met(), 1);
  EXPECT_EQ(bank.system.count("SELECT last_value FROM bookings_made_seq"), lost.made);
  EXPECT_EQ(bank.system.count("SELECT made FROM bookings"), lost.made);
  EXPECT_TRUE(bank.system.worker(1).logged("the answer to a commit is lost")) << bank.system.worker(1).log();
  bank.system.start("debit", kDebit, "d2");  // it goes on as ever
  bank.system.expect_status("d2", "completed");
  EXPECT_EQ(bank.cents(), 80);
}

TEST(ActivitiesOfAServer, ATransactionalOneTakesEffectOnceOverARestart) {
  PrivateCluster cluster;
  Bank bank(Mode::listening, cluster.conninfo());
  bank.close("statement");
  bank.system.start_all(1);
  bank.system.start("debit", kDebit, "d1");
  bank.expect_waiting();
  bank.system.stop_sampling();
  cluster.stop("immediate");
  cluster.start();
  bank.expect_paid_once("d1");
}

// The session is ended by somebody else while the transaction is open: its worker comes back to a lease that is gone.
// (From the record on the instance's row is locked, and nobody can take the lease.)
TEST_P(Activities, ATransactionOfALostLeaseLeavesNothing) {
  Bank bank(GetParam());
  const std::string gate = "fence";
  bank.close(gate);
  bank.system.start_all(1);
  bank.system.start("debit", kDebit, "d1");
  bank.expect_waiting();
  bank.system.sql("SELECT end_session(session_id, false, false) FROM sessions WHERE kind = 'resumer'");
  // The instance is taken anew, and the second attempt waits for the row that the first has changed.
  ASSERT_TRUE(eventually([&] {
    return bank.system.count("SELECT count(*) FROM pg_stat_activity s WHERE EXISTS (SELECT FROM unnest(pg_blocking_pids(s.pid)) b "
                             "WHERE pg_backend_pid() = ANY (pg_blocking_pids(b)))") == 1;
  }));
  bank.open(gate);
  bank.expect_paid_once("d1");
}

TEST_P(Activities, SeveralTransactionalOnesOfOneRunEachTakeEffectOnce) {
  Bank bank(GetParam(), {}, "activity_threads = 4\n");
  bank.system.start_all(2);
  for (int i = 0; i < 3; ++i) bank.system.start("many", "10", "m" + std::to_string(i));
  for (int i = 0; i < 3; ++i) {
    bank.system.expect_status("m" + std::to_string(i), "completed");
    EXPECT_EQ(bank.results("m" + std::to_string(i)), 10);
  }
  EXPECT_EQ(bank.cents(), 70);
  EXPECT_EQ(bank.bookings(), 30);
  EXPECT_EQ(bank.system.count("SELECT count(DISTINCT key) FROM bookings"), 30);
  bank.system.expect_quiescent();
}

TEST_P(Activities, ATransactionThatTheWorkflowNoLongerAwaitsLeavesNothing) {
  for (const std::string gate : {"statement", "fence"}) {
    SCOPED_TRACE(gate);
    Bank bank(GetParam());
    bank.close(gate);
    bank.system.start_all(1);
    bank.system.start("overtaken", kDebit, "o1");
    bank.expect_waiting();
    bank.system.sql("SELECT publish('stop', '\"stopped\"', target_instance_id => 'o1')");
    // At 'fence' its commit is under way: then the result is first, whatever comes beside it.
    const bool too_late = gate == "fence";
    if (!too_late) {
      ASSERT_TRUE(eventually([&] {
        return bank.system.count("SELECT count(*) FROM history WHERE instance_id = 'o1' AND kind = 8") == 1;
      }));
    }
    bank.open(gate);
    bank.system.sql("SELECT publish('go on', '1', target_instance_id => 'o1')");
    bank.system.expect_status("o1", "completed");
    EXPECT_EQ(bank.system.output("o1"), too_late ? R"("paid")" : R"("stopped")");
    EXPECT_EQ(bank.cents(), too_late ? 90 : 100);
    EXPECT_EQ(bank.bookings(), too_late ? 1 : 0);
    EXPECT_EQ(bank.results("o1"), too_late ? 1 : 0);
    bank.system.expect_quiescent();
  }
}

TEST_P(Activities, AFailedAttemptOfATransactionalOneLeavesNothing) {
  Bank bank(GetParam());
  bank.system.start_all(1);
  bank.system.start("wavering", kDebit, "w1");
  EXPECT_EQ(bank.expect_paid_once("w1"), 3);
  bank.system.start("debit", R"({"account": "z", "cents": 10})", "z1");
  bank.system.expect_status("z1", "completed");
  EXPECT_EQ(bank.system.output("z1"), R"({"type": "NoSuchAccount", "attempt": 1, "message": "no account z"})");
}

TEST_P(Activities, ASerializationFailureIsTriedAgainWhateverThePolicySays) {
  Bank bank(GetParam());
  bank.close("statement");
  bank.system.start_all(1);
  bank.system.start("strict", R"({"account": "a", "cents": 10})", "s0");
  bank.expect_waiting();
  // The second waits for the row that the first has changed, and cannot be serialized once that commits.
  bank.system.start("strict", R"({"account": "a", "cents": 10})", "s1");
  ASSERT_TRUE(eventually([&] {
    return bank.system.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'romancy-activity' "
                             "AND wait_event_type = 'Lock' AND wait_event <> 'advisory' "
                             "AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_stat_activity.pid AND l.relation = 'accounts'::regclass)") == 1;
  }));
  bank.open("statement");
  bank.system.expect_status("s0", "completed");
  bank.system.expect_status("s1", "completed");
  EXPECT_EQ(bank.cents(), 80);
  EXPECT_EQ(bank.bookings(), 2);
  EXPECT_GE(bank.system.count("SELECT max(attempt) FROM bookings"), 2);
  bank.system.expect_quiescent();
}

TEST_P(Activities, ATransactionThatTakesTooLongIsRolledBack) {
  Bank bank(GetParam());
  bank.close("statement");
  bank.system.start_all(1);
  bank.system.start("hasty", kDebit, "h1");
  bank.system.expect_status("h1", "completed");
  EXPECT_THAT(bank.system.output("h1"), testing::HasSubstr(R"("type": "AttemptTimedOut", "attempt": 2)"));
  bank.open("statement");
  EXPECT_EQ(bank.cents(), 100);
  EXPECT_EQ(bank.bookings(), 0);
  bank.system.start("debit", kDebit, "d1");  // its thread and its connection are well
  EXPECT_EQ(bank.expect_paid_once("d1"), 1);
}

TEST_P(Activities, CancelReachesATransactionThatWaits) {
  Bank bank(GetParam());
  bank.close("statement");
  bank.system.start_all(1);
  bank.system.start("debit", kDebit, "d1");
  bank.expect_waiting();
  bank.system.sql("SELECT cancel_workflow('d1')");
  bank.system.expect_status("d1", "cancelled");  // the gate is still closed
  bank.open("statement");
  EXPECT_EQ(bank.cents(), 100);
  bank.system.expect_quiescent();
}

TEST_P(Activities, WhatATransactionMayNotDoIsRefusedByName) {
  Bank bank(GetParam());
  bank.system.start_all(1);
  for (const char* what : {"commit", "swallow", "deferred", "savepoint"})
    bank.system.start("odd", "\"" + std::string(what) + "\"", what);
  const auto output = [&](const std::string& id) {
    bank.system.expect_status(id, "completed");
    return bank.system.output(id);
  };
  EXPECT_EQ(output("commit"), R"({"type": "TransactionControl", "attempt": 1, "message": )"
                              R"("COMMIT is not allowed in a transactional activity; tx.savepoint() is"})");
  EXPECT_THAT(output("swallow"), testing::HasSubstr("22012"));
  EXPECT_THAT(output("deferred"), testing::AllOf(testing::HasSubstr("SqlError"), testing::HasSubstr("23503")));
  EXPECT_EQ(output("savepoint"),
            R"({"b": true, "f": 0.1, "j": {"a": 1}, "n": false, "t": "é", "code": "42P01", "kept": 1})");
  EXPECT_EQ(bank.bookings(), 1);
  bank.system.expect_quiescent();
}

TEST_P(Activities, AnAttemptThatOutlastsItsTimeIsTriedAgainAndItsLateResultIsDropped) {
  Bank bank(GetParam(), {}, "activity_threads = 1\n");
  bank.system.start_all(1);
  bank.system.start("sluggish", "null", "s1");
  bank.system.expect_status("s1", "completed");
  EXPECT_EQ(bank.system.output("s1"), "\"second\"");
  EXPECT_TRUE(eventually([&] { return bank.system.worker(1).logged("its result is dropped"); })) << bank.system.worker(1).log();
  EXPECT_TRUE(bank.system.worker(1).logged("sluggish"));
  bank.system.start("never", "null", "n1");
  bank.system.expect_status("n1", "completed");
  EXPECT_EQ(bank.system.output("n1"), "\"AttemptTimedOut\"");
  EXPECT_EQ(bank.system.worker(1).terminate(), 0);
  bank.system.expect_quiescent();
}

TEST_P(Activities, TheMembersOfAGroupAreReadByABuiltInOne) {
  Bank bank(GetParam());
  bank.system.sql("CREATE TABLE IF NOT EXISTS group_members (group_name text, instance_id text)");
  bank.system.sql("INSERT INTO group_members VALUES ('g', 'b'), ('g', 'a'), ('h', 'c')");
  bank.system.start_all(1);
  bank.system.start("who", "\"g\"", "w1");
  bank.system.expect_status("w1", "completed");
  EXPECT_EQ(bank.system.output("w1"), R"(["a", "b"])");
  bank.system.start("who", "\"nobody's\"", "w2");
  bank.system.expect_status("w2", "completed");
  EXPECT_EQ(bank.system.output("w2"), "[]");
}

// Each of them waits two seconds: in turn, on two threads, they would take half an hour.
TEST_P(Activities, TwoThousandAsynchronousOnesWaitAtOnceWithTwoThreads) {
  Bank bank(GetParam(), {}, "activity_threads = 2\nmax_in_flight = 3000\nasync_activities = 2500\n");
  bank.system.sql("SELECT count(start_workflow('nap', '2000', 'n' || i)) FROM generate_series(1, 2000) i");
  bank.system.start_all(1);
  ASSERT_TRUE(eventually([&] {
    return bank.system.count("SELECT count(*) FROM workflow_instances WHERE status = 'completed'") == 2000;
  })) << bank.system.worker(1).log();
  EXPECT_EQ(bank.system.count("SELECT count(*) FROM history WHERE kind = 2 AND data = '2000'"), 2000);
  bank.system.expect_quiescent();
}

TEST_P(Activities, CancelReachesAnAsynchronousOneAtOnce) {
  Bank bank(GetParam());
  bank.system.start_all(1);
  bank.system.start("nap", "3600000", "n1");
  ASSERT_TRUE(eventually([&] { return bank.system.count("SELECT count(*) FROM instances WHERE session_id IS NOT NULL") == 1; }));
  bank.system.sql("SELECT cancel_workflow('n1')");
  bank.system.expect_status("n1", "cancelled");
  bank.system.expect_quiescent();
}

TEST_P(Activities, AnAsynchronousOneThatTakesTooLongFails) {
  Bank bank(GetParam());
  bank.system.start_all(1);
  bank.system.start("short_nap", "3600000", "n1");
  bank.system.start("short_nap", "1", "n2");
  bank.system.expect_status("n1", "completed");
  EXPECT_EQ(bank.system.output("n1"), R"({"type": "AttemptTimedOut", "attempt": 2})");
  bank.system.expect_status("n2", "completed");
  EXPECT_EQ(bank.system.output("n2"), "1");
  EXPECT_EQ(bank.system.worker(1).terminate(), 0);
  bank.system.expect_quiescent();
}

}  // namespace
}  // namespace romancy::test
