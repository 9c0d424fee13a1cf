// One attempt of a transactional activity against PostgreSQL, without a loop: what becomes of it, and what it leaves.
// Nobody asks these attempts to stop (the loop is late, or has nothing to say) unless the test does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "resumer/transaction.hpp"
#include "tests/pg/storage.hpp"
#include "tests/support/proxy.hpp"

namespace romancy::test {
namespace {

using namespace resumer;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;
using Body = std::function<void(Transaction&)>;

constexpr auto kShort = 50ms, kLong = std::chrono::milliseconds(1h);

class RunTransaction : public Storage {
 protected:
  void SetUp() override {
    schema.run("CREATE TABLE effects (what text PRIMARY KEY); CREATE TABLE gate ()");
    leased("i1");
  }

  // What the loop says to an attempt that is ready: to commit under this lease, or nothing: to roll back.
  std::optional<Handover::Order> order = Handover::Order{.session = 1, .token = 1, .seq = 2};
  std::string through = schema.conninfo();
  bool was_ready = false;
  std::stop_source asked;

  // One after the other on one thread, which is a new one, with a connection of its own.
  std::vector<TransactionOutcome> attempts(const std::vector<Body>& bodies, std::chrono::milliseconds timeout = 0ms) {
    std::vector<TransactionOutcome> outcomes;
    std::thread([&] {
      for (const Body& body : bodies) {
        const ActivityRef activity = transactional("tx", [body](Transaction& tx) { body(tx); }, {.timeout = timeout});
        Handover handover;
        outcomes.push_back(run_transaction(
            {.definition = &static_cast<const detail::TransactionalDefinition&>(activity.definition()),
             .start = {.op = 1, .name = "tx", .input = "null", .key = "i1:1:0"},
             .instance_id = "i1",
             .conninfo = through,
             .schema = schema.name(),
             .stop = asked.get_token()},
            {}, handover, [&] {
              was_ready = true;
              if (order) handover.commit(*order);
              else handover.drop();
            }));
      }
    }).join();
    return outcomes;
  }
  TransactionOutcome attempt(const Body& body, std::chrono::milliseconds timeout = 0ms) {
    return attempts({body}, timeout).front();
  }
  void expect_failed(const TransactionOutcome& outcome, const std::string& type) {
    EXPECT_EQ(outcome.end, TransactionEnd::rolled_back);
    EXPECT_FALSE(outcome.outcome.ok);
    EXPECT_EQ(outcome.outcome.error_type, type) << outcome.outcome.error_message;
    EXPECT_FALSE(was_ready) << "the loop was asked to commit it";
    expect_nothing_left();
  }
  // Also no transaction, and no lock of one.
  void expect_nothing_left() {
    EXPECT_EQ(counts({"effects"}), "0");
    EXPECT_EQ(c.run("SELECT max(seq) FROM history WHERE instance_id = 'i1'"), "1");
    c.wait_until("SELECT count(*) = 0 FROM pg_locks WHERE pid <> pg_backend_pid() AND relation = 'effects'::regclass");
  }
  void expect_effect() {
    EXPECT_EQ(c.run("SELECT what FROM effects"), "done");
    EXPECT_EQ(c.run("SELECT seq, op, kind, name FROM history WHERE instance_id = 'i1' AND seq > 1"), "2|1|2|tx");
    EXPECT_EQ(invariants(), "");
  }
  static void effect(Transaction& tx) { tx.exec("INSERT INTO effects VALUES ('done')"); }
  static void outlive(Transaction& tx) { tx.exec("SELECT FROM gate"); }  // as long as the gate is locked
};

TEST_F(RunTransaction, CommitsItsEffectWithItsResult) {
  EXPECT_EQ(attempt(effect).end, TransactionEnd::committed);
  EXPECT_TRUE(was_ready);
  expect_effect();
}

TEST_F(RunTransaction, WhatTheLoopRefusesLeavesNothing) {
  order = Handover::Order{.session = 1, .token = 7, .seq = 2};
  EXPECT_EQ(attempt(effect).end, TransactionEnd::fenced);
  expect_nothing_left();
  order.reset();
  EXPECT_EQ(attempt(effect).end, TransactionEnd::dropped);
  expect_nothing_left();
}

TEST_F(RunTransaction, AFailedAttemptLeavesNothingForTheNextOneOnItsConnection) {
  int pids[2] = {1, 2};
  const auto both = attempts({[&](Transaction& tx) {
                                effect(tx);
                                pids[0] = tx.exec("SELECT pg_backend_pid()").get<int>(0, 0);
                                throw std::runtime_error("not yet");
                              },
                              [&](Transaction& tx) { pids[1] = tx.exec("SELECT pg_backend_pid()").get<int>(0, 0); }});
  EXPECT_EQ(both[0].end, TransactionEnd::rolled_back);
  EXPECT_EQ(both[1].end, TransactionEnd::committed);
  EXPECT_EQ(pids[0], pids[1]);
  EXPECT_EQ(counts({"effects"}), "0");
}

// ------------------------------------------------------------------------------------------------------- out of time

// The server's statement_timeout ends the statement; the loop, which counts the same time, has said nothing.
class TransactionOutOfTime : public RunTransaction {
 protected:
  void SetUp() override {
    RunTransaction::SetUp();
    a.run("BEGIN; LOCK TABLE gate");
  }
};

TEST_F(TransactionOutOfTime, AStatementThatOutlivesTheAttemptIsATimeOut) {
  const auto outcome = attempt([](Transaction& tx) {
    effect(tx);
    outlive(tx);
  }, kShort);
  expect_failed(outcome, "AttemptTimedOut");
  EXPECT_EQ(outcome.outcome.error_message, "no result within 50ms");
  EXPECT_EQ(outcome.outcome.op, 1);
  EXPECT_FALSE(outcome.outcome.terminal) << "the policy decides about another";
}

TEST_F(TransactionOutOfTime, CodeThatCatchesExceptionsIsNotToldOfItsEnd) {
  bool caught = false, went_on = false;
  expect_failed(attempt([&](Transaction& tx) {
                  effect(tx);
                  try {
                    outlive(tx);
                  } catch (const std::exception&) {
                    caught = true;
                  }
                  went_on = true;
                }, kShort),
                "AttemptTimedOut");
  EXPECT_FALSE(caught);
  EXPECT_FALSE(went_on) << "Stopped leaves it";
}

TEST_F(TransactionOutOfTime, CodeThatSwallowsEverythingStillHasNoResult) {
  expect_failed(attempt([](Transaction& tx) {
                  effect(tx);
                  try {
                    outlive(tx);
                  } catch (...) {
                  }
                }, kShort),
                "AttemptTimedOut");
}

// The loop is busy and has not said that the time is over: it must not be asked to commit.
TEST_F(TransactionOutOfTime, AStopThatIsSwallowedInASavepointStillHasNoResult) {
  expect_failed(attempt([](Transaction& tx) {
                  effect(tx);
                  try {
                    tx.savepoint([&] { outlive(tx); });
                  } catch (...) {
                  }
                }, kShort),
                "AttemptTimedOut");
}

TEST_F(RunTransaction, OneThatEndsWellAfterItsTimeHasNoResult) {
  expect_failed(attempt([](Transaction& tx) {
                  effect(tx);
                  const auto end = std::chrono::steady_clock::now() + 2 * kShort;
                  while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
                }, kShort),
                "AttemptTimedOut");
}

TEST_F(RunTransaction, OneThatSwallowsThatItIsAskedToStopHasNoResult) {
  expect_failed(attempt([this](Transaction& tx) {
                  effect(tx);
                  asked.request_stop();
                  try {
                    tx.savepoint([&] { tx.exec("INSERT INTO effects VALUES ('more')"); });
                  } catch (...) {
                  }
                }),
                "Stopped");
}

// It may have ended before it was asked, or never looks: what it did is whole, and the loop decides.
TEST_F(RunTransaction, OneThatIsAskedToStopAndNeverMeetsItIsTheLoopsToDecide) {
  EXPECT_EQ(attempt([this](Transaction& tx) {
              effect(tx);
              asked.request_stop();
            }).end,
            TransactionEnd::committed);
  expect_effect();
}

TEST_F(TransactionOutOfTime, EveryLaterStatementIsStoppedToo) {
  int stopped = 0;
  const auto count_stop = [&](const auto& statement) {
    try {
      statement();
    } catch (const Stopped&) {
      ++stopped;
    }
  };
  expect_failed(attempt([&](Transaction& tx) {
                  count_stop([&] { effect(tx); });  // on a slow machine its time is over already
                  for (int i = 0; i < 2; ++i) count_stop([&] { tx.savepoint([&] { outlive(tx); }); });
                  tx.exec("INSERT INTO effects VALUES ('more')");
                }, kShort),
                "AttemptTimedOut");
  EXPECT_GE(stopped, 2);
}

TEST_F(TransactionOutOfTime, ATimeOutThatTheCodeSetItselfIsItsOwnError) {
  const auto outcome = attempt([](Transaction& tx) {
    effect(tx);
    tx.exec("SET LOCAL statement_timeout = 20");
    outlive(tx);
  }, kLong);
  expect_failed(outcome, "SqlError");
  EXPECT_THAT(outcome.outcome.error_message, StartsWith("57014"));
}

// ---------------------------------------------------------------------------------------------------- errors in time

TEST_F(RunTransaction, AnErrorOfTheCodeKeepsItsTypeWithATimeOutAndWithout) {
  for (const auto timeout : {0ms, kLong}) {
    const auto outcome = attempt([](Transaction& tx) {
      effect(tx);
      throw TerminalError("no such account", "NoSuchAccount");
    }, timeout);
    expect_failed(outcome, "NoSuchAccount");
    EXPECT_EQ(outcome.outcome.error_message, "no such account");
    EXPECT_TRUE(outcome.outcome.terminal);
  }
}

TEST_F(RunTransaction, AnErrorOfPostgresKeepsItsCodeWithATimeOutAndWithout) {
  for (const auto timeout : {0ms, kLong}) {
    for (const bool swallowed : {false, true}) {
      const auto outcome = attempt([swallowed](Transaction& tx) {
        effect(tx);
        try {
          effect(tx);
        } catch (const SqlError& error) {
          EXPECT_EQ(error.sqlstate(), "23505");
          if (!swallowed) throw;
        }
      }, timeout);
      expect_failed(outcome, "SqlError");
      EXPECT_THAT(outcome.outcome.error_message, AllOf(StartsWith("23505"), HasSubstr("effects_pkey")));
    }
  }
}

// --------------------------------------------------------------------------------------------------------- lost commits

TEST_F(RunTransaction, ACommitWhoseAnswerIsLostIsUnknownThoughItHappened) {
  Proxy proxy(schema.conninfo());
  through = proxy.conninfo();
  proxy.rules({{.way = Proxy::Way::to_server, .type = 'Q', .text = "COMMIT", .fate = Proxy::Fate::answer_cut, .times = 1}});
  EXPECT_EQ(attempt(effect).end, TransactionEnd::unknown);
  EXPECT_EQ(proxy.met(), 1);
  expect_effect();
}

TEST_F(RunTransaction, ACommitThatNeverArrivedIsUnknownAndLeavesNothing) {
  Proxy proxy(schema.conninfo());
  through = proxy.conninfo();
  proxy.rules({{.way = Proxy::Way::to_server, .type = 'Q', .text = "COMMIT", .fate = Proxy::Fate::cut, .times = 1}});
  EXPECT_EQ(attempt(effect).end, TransactionEnd::unknown);
  EXPECT_EQ(proxy.met(), 1);
  expect_nothing_left();
  EXPECT_EQ(attempt(effect).end, TransactionEnd::committed);
  expect_effect();
}

}  // namespace
}  // namespace romancy::test
