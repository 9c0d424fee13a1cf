// Queues: whose turn it is, and how many may run at once: statement by statement, and under random load.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "tests/pg/storage.hpp"

namespace romancy::test {
namespace {

using testing::HasSubstr;

class Lanes : public Storage {
 protected:
  Lanes() { a.run(start_session(1)), b.run(start_session(2)); }
  void start_one(const std::string& id, int priority, const std::string& key = {}) {
    c.run("SELECT start_workflow('w', '{}', '" + id + "', priority => " + std::to_string(priority) + ", key => " +
          (key.empty() ? "NULL" : "'" + key + "'") + ")");
  }
  // One claim of a single run after the other, each with the mark the one before left: what it leased, in order.
  std::string one_by_one(int claims, std::string mark = "0") {
    std::string order;
    for (int n = 0; n < claims; ++n) {
      const std::string answer = a.run("SELECT coalesce(instance_id, inbox -> 'marks' ->> 0) FROM claim_runs(1, " + kRoute + ", ARRAY['" +
                                       mark + "'], 1, 100) ORDER BY instance_id IS NULL");
      const auto end = answer.find('\n');
      if (end == std::string::npos) return order + "nothing";
      order += (order.empty() ? "" : " ") + answer.substr(0, end);
      mark = answer.substr(end + 1);
    }
    return order;
  }
};

TEST_F(Lanes, TheMostUrgentComeFirstWhateverCameWhen) {
  start_one("normal", 0);
  start_one("least", -4);
  start_one("low", -1, "k");
  start_one("high", 2);
  start_one("most", 4, "k");
  EXPECT_EQ(one_by_one(5), "most high normal low least");
}

TEST_F(Lanes, OneClaimTakesTheMostUrgentOnesAndAnswersInThatOrder) {
  for (int n = 1; n <= 20; ++n) start_one("n" + std::to_string(n), 0);
  for (int n = 1; n <= 3; ++n) start_one("low" + std::to_string(n), -2), start_one("high" + std::to_string(n), 1, std::to_string(n));
  EXPECT_EQ(a.run("SELECT string_agg(left(instance_id, 1), '') FROM claim_runs(1, " + kRoute + ", '{0}', 5, 100) "
                  "WHERE instance_id IS NOT NULL"),
            "hhhnn");
  EXPECT_EQ(a.run("SELECT string_agg(left(instance_id, 1), '') FROM claim_runs(1, " + kRoute + ", '{0}', 20, 100) "
                  "WHERE instance_id IS NOT NULL"),
            std::string(18, 'n') + "ll");
}

TEST_F(Lanes, KeysOfOnePriorityHaveTheirTurn) {
  for (int n = 1; n <= 5; ++n) start_one("flood" + std::to_string(n), 0, "flood");
  start_one("b1", 0, "b"), start_one("b2", 0, "b"), start_one("none1", 0), start_one("z1", 0, "z");
  EXPECT_EQ(one_by_one(9, "0/5b"), "flood1 z1 none1 b1 flood2 b2 flood3 flood4 flood5");
}

TEST_F(Lanes, OneClaimTakesFromEachKey) {
  for (int n = 1; n <= 50; ++n) start_one("flood" + std::to_string(n), 0, "a");
  start_one("b1", 0, "b"), start_one("c1", 0, "c"), start_one("d1", 0);
  EXPECT_EQ(a.run("SELECT string_agg(DISTINCT key, ',' ORDER BY key) FROM workflow_instances WHERE instance_id IN "
                  "(SELECT instance_id FROM claim_runs(1, " + kRoute + ", '{0}', 4, 100))"),
            "a,b,c");
  EXPECT_EQ(c.run("SELECT count(*) FROM instances WHERE session_id IS NOT NULL"), "4");
}

TEST_F(Lanes, NoKeyStarvesWhenThereAreMoreThanOneCallLooksAt) {
  c.run("SELECT count(start_workflow('w', '{}', 'i' || n || '.' || m, key => 'k' || lpad(n::text, 3, '0'))) "
        "FROM generate_series(1, 250) n, generate_series(1, 3) m");
  std::string mark = "0/5";
  for (int call = 0; call < 5; ++call) {
    const std::string answer = a.run("SELECT inbox ->> 'more', inbox -> 'marks' ->> 0 FROM claim_runs(1, " + kRoute + ", ARRAY['" + mark +
                                     "'], 50, 100) WHERE instance_id IS NULL");
    EXPECT_EQ(answer.substr(0, 5), "true|");
    mark = answer.substr(5);
  }
  EXPECT_EQ(c.run("SELECT count(DISTINCT lane), count(*) FROM instances WHERE session_id IS NOT NULL"), "250|250");
}

TEST_F(Lanes, TheMarkStaysWhileThereAreMoreLanesThanOneCallLooksAtAndThenMoves) {
  c.run("SELECT count(start_workflow('w', '{}', 'i' || n, key => 'k' || n)) FROM generate_series(1, 150) n");
  const std::string poke = c.run("SELECT min(xid::text::bigint) FROM pokes");
  const std::string mark = "SELECT split_part(inbox -> 'marks' ->> 0, '/', 1) FROM claim_runs(1, " + kRoute + ", '{7}', 100, 100) WHERE instance_id IS NULL";
  EXPECT_EQ(a.run(mark), "7");
  EXPECT_EQ(a.run(mark), poke) << "the last fifty are seen, and are still there";
  EXPECT_EQ(a.run("SELECT split_part(inbox -> 'marks' ->> 0, '/', 1)::bigint > " + poke + " FROM claim_runs(1, " + kRoute + ", '{7}', 100, 100)"), "t");
}

// Hole H14 with lanes: the mark is that of all of them.
class LanesMark : public Lanes {
 protected:
  std::string script(bool broken) {
    start_one("keyed", 0, "k");
    a.run("BEGIN");
    EXPECT_EQ(a.run(claim(1)), "keyed|1");
    if (broken) schema.patch("claim_runs", "least(v_xmin, v_first_xid)", "v_xmin");
    start_one("i1", 0), start_one("urgent", 3);
    const std::string mark = b.run("SELECT inbox -> 'marks' ->> 0 FROM claim_runs(2, " + kRoute + ", '{0}', 10, 100) WHERE instance_id IS NULL");
    a.run("ROLLBACK");
    return b.run("SELECT instance_id FROM claim_runs(2, " + kRoute + ", ARRAY['" + mark + "'], 10, 100) WHERE instance_id = 'keyed'");
  }
};

TEST_F(LanesMark, NeverPassesAPokeOfAnyLaneInAnotherClaimsHand) { EXPECT_EQ(script(false), "keyed"); }

TEST_F(LanesMark, BrokenAMarkThatForgetsTheLanesPassesIt) { EXPECT_EQ(script(true), ""); }

TEST_F(Lanes, TheMarkWaitsForAWriterOfAnotherLane) {
  a.run("BEGIN");
  a.run("SELECT start_workflow('w', '{}', 'early', key => 'k', priority => 2)");
  start_one("late", 0);
  const std::string mark = b.run("SELECT inbox -> 'marks' ->> 0 FROM claim_runs(2, " + kRoute + ", '{0}', 10, 100) WHERE instance_id IS NULL");
  a.run("COMMIT");
  EXPECT_EQ(b.run("SELECT instance_id FROM claim_runs(2, " + kRoute + ", ARRAY['" + mark + "'], 10, 100) WHERE instance_id IS NOT NULL"), "early");
}

TEST_F(Lanes, WhateverHappensToAnInstanceStandsInItsLane) {
  start_one("i1", 1, "k");
  EXPECT_EQ(a.run(claim(1)), "i1|1");
  a.run(commit(1, {{.id = "i1",
                    .history = {{1, 0, 1, "", "{}"}},
                    .consumed = {1},
                    .timers = {{1, 1, 0, ""}},
                    .children = {{2, "child", "{}", true, "w", "3urgent"}, {0, "sibling"}},
                    .tasks = {{3}}}}));
  c.run(tell("i1"));
  c.run("SELECT publish('c', '1', target_instance_id => 'child')");
  c.run("SELECT * FROM fire_timers('{1}', 10)");
  const std::string task = c.run("SELECT task_id || ', ' || token FROM claim_activity_tasks('gpu', 'w')");
  c.run("SELECT complete_activity_task(" + task + ", '1')");
  c.run("SELECT cancel_workflow('i1')");
  EXPECT_EQ(c.run("SELECT instance_id, lane, count(*) FROM pokes GROUP BY 1, 2 ORDER BY 1"), "child|3urgent|2\ni1|4k|4\nsibling|5|1");
  EXPECT_EQ(c.run("SELECT instance_id, priority, key FROM workflow_instances ORDER BY 1"), "child|2|urgent\ni1|1|k\nsibling|0|");
  EXPECT_EQ(a.run(claim(1, "instance_id")), "child\ni1\nsibling");
  a.run("SELECT end_session(1, true, false)");
  EXPECT_EQ(c.run("SELECT instance_id, lane FROM pokes ORDER BY 1"), "child|3urgent\ni1|4k\nsibling|5");
  EXPECT_EQ(invariants(), "");
}

class Limited : public Storage {
 protected:
  Limited() { a.run(start_session(1)), b.run(start_session(2)); }
  void start_many(int count, const std::string& key = {}) {
    c.run("SELECT count(start_workflow('w', '{}', 'i" + key + "' || n, key => nullif('" + key + "', ''))) FROM generate_series(1, " +
          std::to_string(count) + ") n");
  }
  static std::string claims(int session, int want = 100) {
    return "SELECT count(instance_id) FROM claim_runs(" + std::to_string(session) + ", " + kRoute + ", '{0}', " + std::to_string(want) + ", 100)";
  }
  std::string hints(Step& step) {
    std::string said;
    for (const auto& [channel, payload] : step.notifications()) said += payload + "\n";
    return said;
  }
};

TEST_F(Limited, NoMoreRunAtOnceThanTheQueueAllowsAndTheNextBeginsWhenOneLetsGo) {
  c.run("SELECT set_queue('default', concurrency => 3)");
  start_many(10);
  EXPECT_EQ(a.run(claims(1, 2)), "2");
  EXPECT_EQ(b.run(claims(2)), "1");
  EXPECT_EQ(b.run(claims(2)), "0");
  EXPECT_EQ(b.run(claim_summary(2, "more")), "false") << "nobody need ask again before one lets go";
  EXPECT_EQ(b.run(claim_summary(2, "skipped")), "0");
  b.run("LISTEN " + schema.name() + "_workflow_resumable");
  b.notifications();
  const std::string one = a.run("SELECT instance_id FROM instances WHERE session_id = 1 LIMIT 1");
  a.run(commit(1, {{.id = one, .status = 2, .history = {{1, 0, 16, "", "1"}}}}));
  EXPECT_EQ(hints(b), "{\"workflow_name\": \"w\"}\n") << "for everybody who serves it: nobody is named";
  EXPECT_EQ(b.run(claims(2)), "1");
  EXPECT_EQ(c.run("SELECT waiting, running, concurrency FROM workflow_queues"), "6|3|3");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Limited, WhatWaitsForSomethingDoesNotCount) {
  c.run("SELECT set_queue('default', concurrency => 1)");
  start_many(2);
  EXPECT_EQ(a.run(claims(1)), "1");
  const std::string one = a.run("SELECT instance_id FROM instances WHERE session_id = 1");
  a.run(commit(1, {{.id = one, .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(one.substr(1))}}}));
  EXPECT_EQ(a.run(claims(1)), "1") << "the first one sleeps";
  c.run(tell(one));
  EXPECT_EQ(b.run(claims(2)), "0") << "and has its turn when there is room again";
  EXPECT_EQ(invariants(), "");
}

TEST_F(Limited, WhatADeadWorkerHadInHandIsFree) {
  c.run("SELECT set_queue('default', concurrency => 2)");
  start_many(3);
  EXPECT_EQ(a.run(claims(1)), "2");
  EXPECT_EQ(b.run(claims(2)), "0");
  b.run("LISTEN " + schema.name() + "_workflow_resumable");
  b.notifications();
  c.run("SELECT end_session(1, true, false)");
  EXPECT_THAT(hints(b), HasSubstr("{\"workflow_name\": \"w\"}\n"));
  EXPECT_EQ(b.run(claims(2)), "2");
  EXPECT_EQ(counts({"slots"}), "2");
  EXPECT_EQ(invariants(), "");
}

// Should ever a lease end by a path that forgets its slot.
TEST_F(Limited, ASlotWhoseLeaseIsOverCountsForNothing) {
  c.run("SELECT set_queue('default', concurrency => 2)");
  start_many(4);
  EXPECT_EQ(a.run(claims(1)), "2");
  c.run("UPDATE instances SET lease_token = lease_token + 1 WHERE session_id = 1");
  EXPECT_EQ(b.run(claims(2)), "2");
  EXPECT_EQ(counts({"slots"}), "2");
}

TEST_F(Limited, EachKeyHasItsLimitAndWhatHasNoKeyHasNone) {
  c.run("SELECT set_queue('default', key_concurrency => 2)");
  start_many(5, "a"), start_many(1, "b"), start_many(4);
  EXPECT_EQ(a.run(claims(1)), "7");
  EXPECT_EQ(c.run("SELECT coalesce(key, ''), count(*) FROM workflow_instances WHERE worker IS NOT NULL GROUP BY 1 ORDER BY 1"),
            "|4\na|2\nb|1");
  EXPECT_EQ(b.run(claims(2)), "0");
  c.run("SELECT start_workflow('w', '{}', 'urgent', priority => 4, key => 'a')");
  EXPECT_EQ(b.run(claims(2)), "0") << "the limit is that of the key, whatever the priority";
  const std::string one = a.run("SELECT instance_id FROM instances WHERE lane = '5a' AND session_id = 1 LIMIT 1");
  a.run(commit(1, {{.id = one, .status = 2, .history = {{1, 0, 16, "", "1"}}}}));
  EXPECT_EQ(b.run(claim(2, "instance_id")), "urgent");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Limited, AKeyOfTwoPrioritiesGetsNoMoreByThem) {
  c.run("SELECT set_queue('default', concurrency => 10, key_concurrency => 1)");
  c.run("SELECT start_workflow('w', '{}', 'p' || n, priority => n, key => 'a') FROM generate_series(-4, 4) n");
  EXPECT_EQ(a.run(claim(1, "instance_id")), "p4");
  EXPECT_EQ(b.run(claims(2)), "0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Limited, TwoClaimsAtOnceDoNotShareTheLastSlot) {
  c.run("SELECT set_queue('default', concurrency => 1)");
  start_many(2);
  a.run("BEGIN");
  EXPECT_EQ(a.run(claims(1)), "1");
  EXPECT_EQ(b.run(claims(2)), "0");
  EXPECT_EQ(b.run(claim_summary(2, "skipped")), "1") << "the queue was locked: it comes back";
  a.run("COMMIT");
  EXPECT_EQ(b.run(claims(2)), "0");
  EXPECT_EQ(b.run(claim_summary(2, "skipped")), "0");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Limited, BrokenWithoutTheLockOfTheQueueTheyDo) {
  schema.patch("open_queue", "q.name = $1 FOR NO KEY UPDATE SKIP LOCKED", "q.name = $1");
  c.run("SELECT set_queue('default', concurrency => 1)");
  start_many(2);
  a.run("BEGIN");
  EXPECT_EQ(a.run(claims(1)), "1");
  EXPECT_EQ(b.run(claims(2)), "1");
  a.run("COMMIT");
  EXPECT_THAT(invariants(), HasSubstr("I14"));
}

TEST_F(Limited, AReleaseBesideAClaimIsNotMissed) {
  c.run("SELECT set_queue('default', concurrency => 1)");
  start_many(2);
  EXPECT_EQ(a.run(claims(1)), "1");
  const std::string one = a.run("SELECT instance_id FROM instances WHERE session_id = 1");
  b.run("LISTEN " + schema.name() + "_workflow_resumable");
  b.notifications();
  a.run("BEGIN");
  a.run(commit(1, {{.id = one, .status = 2, .history = {{1, 0, 16, "", "1"}}}}));
  EXPECT_EQ(b.run(claims(2)), "0") << "it does not see the end";
  a.run("COMMIT");
  EXPECT_EQ(hints(b), "{\"workflow_name\": \"w\"}\n") << "but hears of it";
  EXPECT_EQ(b.run(claims(2)), "1");
}

TEST_F(Limited, OtherQueuesGoOnWhileAnApplicationIsChangingOne) {
  a.run("SELECT end_session(1, false, false)");
  const std::string routes = "ARRAY[route_id('default', 'w'), route_id('other', 'w')]";
  c.run("SELECT set_queue('default', concurrency => 5)");
  start_many(3);
  c.run("SELECT start_workflow('w', '{}', 'o1', queue => 'other')");
  c.run("BEGIN; SELECT pause_queue('default'), set_queue('other', concurrency => 1), set_queue('new', concurrency => 1)");
  EXPECT_EQ(b.run("SELECT coalesce(instance_id, inbox ->> 'skipped') FROM claim_runs(2, " + routes + ", '{0,0}', 100, 100)"), "o1\n1");
  c.run("ROLLBACK");
  EXPECT_EQ(b.run("SELECT count(instance_id) FROM claim_runs(2, " + routes + ", '{0,0}', 100, 100)"), "3");
}

TEST_F(Limited, NothingOfAPausedQueueIsClaimedUntilItIsResumed) {
  start_many(3);
  EXPECT_EQ(a.run(claims(1, 1)), "1");
  EXPECT_EQ(c.run("SELECT pause_queue('default'), pause_queue('default')"), "t|f");
  EXPECT_EQ(b.run(claims(2)), "0");
  EXPECT_EQ(b.run(claim_summary(2, "more")), "false");
  EXPECT_EQ(b.run(claim_summary(2, "skipped")), "0") << "nobody asks in vain";
  const std::string one = a.run("SELECT instance_id FROM instances WHERE session_id = 1");
  EXPECT_EQ(a.run("SELECT accepted FROM (" + commit(1, {{.id = one, .release = false, .history = {{1, 0, 1, "", "{}"}}}}) + ") r"), "t")
      << "what runs goes on";
  EXPECT_EQ(c.run("SELECT queue, paused, waiting, running FROM workflow_queues"), "default|t|2|1");
  b.run("LISTEN " + schema.name() + "_workflow_resumable");
  b.notifications();
  EXPECT_EQ(c.run("SELECT resume_queue('default'), resume_queue('default')"), "t|f");
  EXPECT_EQ(hints(b), "{\"workflow_name\": \"w\"}\n");
  EXPECT_EQ(b.run(claims(2)), "2");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Limited, APauseThatIsNotCommittedPausesNothing) {
  start_many(2);
  c.run("BEGIN; SELECT pause_queue('default')");
  EXPECT_EQ(b.run(claims(2, 1)), "1");
  c.run("COMMIT");
  EXPECT_EQ(b.run(claims(2, 1)), "0");
}

TEST_F(Limited, WhatWasSetCanBeChangedAndForgotten) {
  start_many(9);
  c.run("SELECT set_queue('default', concurrency => 1)");
  EXPECT_EQ(a.run(claims(1)), "1");
  c.run("SELECT set_queue('default', concurrency => 3)");
  EXPECT_EQ(a.run(claims(1)), "2");
  c.run("SELECT set_queue('default', concurrency => 1)");
  EXPECT_EQ(a.run(claims(1)), "0") << "a lower limit stops nobody";
  EXPECT_EQ(invariants(), "");
  EXPECT_EQ(c.run("SELECT remove_queue('default'), remove_queue('default')"), "t|f");
  EXPECT_EQ(counts({"slots", "queues"}), "0|0");
  EXPECT_EQ(a.run(claims(1)), "6");
}

TEST_F(Limited, BadSettingsAreRefusedByName) {
  EXPECT_EQ(c.error("SELECT set_queue('q', concurrency => 0)"), "22023 concurrency: 0 is not in 1 .. 1000000");
  EXPECT_EQ(c.error("SELECT set_queue('q', key_concurrency => -1)"), "22023 key_concurrency: -1 is not in 1 .. 1000000");
  for (const std::string f : {"set_queue", "pause_queue", "resume_queue", "remove_queue"}) {
    EXPECT_EQ(c.error("SELECT " + f + "('')"), "22023 queue: must not be empty");
    EXPECT_EQ(c.error("SELECT " + f + "(NULL)"), "22023 queue: must not be NULL");
  }
}

// Workers that claim, let go, finish, roll back and die, side by side: what runs is counted from the leases themselves, in one
// snapshot after the other, and the slots are not asked.
TEST_F(Limited, UnderRandomLoadAndDeathsTheLimitsHoldAtEveryMoment) {
  constexpr int kWorkers = 4, kInstances = 120;
  c.run("SELECT set_queue('default', concurrency => 5, key_concurrency => 2)");
  c.run("SELECT count(start_workflow('w', '{}', 'i' || n, priority => n % 3, key => nullif('k' || n % 4, 'k0'))) FROM generate_series(1, " +
        std::to_string(kInstances) + ") n");
  std::atomic<bool> over = false;
  std::vector<std::string> failures(kWorkers + 1);
  std::vector<std::thread> threads;
  const auto beside = [&](std::size_t mine, auto work) {
    threads.emplace_back([&failures, work, mine]() mutable {
      try {
        work();
      } catch (const std::exception& error) {
        failures[mine] = error.what();
      }
    });
  };
  InvariantSampler sampler(schema);
  for (int w = 0; w < kWorkers; ++w) {
    beside(static_cast<std::size_t>(w), [&, w] {
      auto conn = schema.connect();
      std::mt19937 rng(static_cast<unsigned>(w));
      const auto query = [&](const std::string& sql) {
        auto rows = conn.query(sql);
        if (!rows) throw std::runtime_error(rows.error().text + ": " + sql.substr(0, 200));
        return std::move(*rows);
      };
      int session = 1000 * (w + 1);
      query(start_session(session));
      while (!over) {
        const bool rolled_back = rng() % 10 == 0;
        if (rolled_back) query("BEGIN");
        const auto rows = query(claim(session, "instance_id, lease_token", "0", 1 + static_cast<int>(rng() % 4)));
        if (rolled_back) {
          query("ROLLBACK");
          continue;
        }
        for (int i = 0; i < rows.size(); ++i) {
          const std::string id = rows.str(i, 0);
          const auto chance = rng() % 10;
          if (chance < 2) continue;  // stays in hand, until the session ends
          if (chance < 5) {          // waits; something comes for it at once
            query(commit(session, {{.id = id, .token = rows.int64(i, 1)}}));
            query("SELECT publish('c', '1', target_instance_id => '" + id + "')");
          } else {
            query(commit(session, {{.id = id, .token = rows.int64(i, 1), .status = 2, .history = {{1000, 0, 16, "", "1"}}}}));
          }
        }
        if (rng() % 5 == 0) {
          query("SELECT end_session(" + std::to_string(session) + ", " + (rng() % 2 == 0 ? "true" : "false") + ", false)");
          query(start_session(++session));
        }
      }
    });
  }
  beside(kWorkers, [&] {
    auto conn = schema.connect();
    while (!over) {
      const auto rows = conn.query("SELECT coalesce(sum(n), 0), coalesce(max(n) FILTER (WHERE key <> ''), 0) FROM (SELECT substr(lane, 2) AS key, count(*) AS n "
                                   "FROM instances WHERE session_id IS NOT NULL GROUP BY 1) r");
      if (!rows) throw std::runtime_error(rows.error().text);
      if (rows->int64(0, 0) > 5 || rows->int64(0, 1) > 2)
        throw std::runtime_error(rows->str(0, 0) + " run, " + rows->str(0, 1) + " of one key");
    }
  });
  c.wait_until("SELECT count(*) = " + std::to_string(kInstances) + " FROM instances WHERE status = 2");
  over = true;
  for (auto& thread : threads) thread.join();
  sampler.stop();
  for (const auto& failure : failures) EXPECT_EQ(failure, "");
  EXPECT_EQ(invariants(), "");
}

class Rated : public Limited {
 protected:
  // As if time had passed: the next one may begin now.
  void later() { c.run("UPDATE queues SET next_begin = clock_timestamp() - interval '1 microsecond'"); }
};

TEST_F(Rated, NoMoreBeginThanTheRateAllowsAndTheClaimSaysWhenToComeBack) {
  c.run("SELECT set_queue('default', rate => 2, rate_period => '1 hour')");
  start_many(5);
  EXPECT_EQ(a.run(claims(1)), "1") << "they are half an hour apart";
  EXPECT_EQ(a.run(claims(1)), "0");
  EXPECT_EQ(a.run(claim_summary(1, "more")), "false");
  EXPECT_EQ(a.run(claim_summary(1, "skipped")), "0");
  EXPECT_EQ(a.run(claim_summary(1, "taken")), "0") << "what stands in line is not taken and put back";
  const auto again = std::stoll(a.run(claim_summary(1, "again_us")));
  EXPECT_GT(again, 1'000'000'000LL);
  EXPECT_LE(again, 1'800'000'000LL);
  EXPECT_EQ(c.run("SELECT lane, count(*) FROM pokes GROUP BY 1"), "r5|4");
  later();
  EXPECT_EQ(b.run(claims(2)), "1");
  EXPECT_EQ(b.run(claims(2)), "0");
  EXPECT_EQ(c.run("SELECT waiting, running, rate, rate_period FROM workflow_queues"), "3|2|2|01:00:00");
  EXPECT_EQ(invariants(), "");
}

TEST_F(Rated, WhatHasBegunGoesOn) {
  c.run("SELECT set_queue('default', rate => 1, rate_period => '1 hour')");
  start_many(4);
  const std::string one = a.run(claim(1, "instance_id", "0", 1));
  const std::string row = c.run("SELECT id FROM inbox WHERE instance_id = '" + one + "'");
  a.run(commit(1, {{.id = one, .history = {{1, 0, 1, "", "{}"}}, .consumed = {std::stoll(row)}}}));
  c.run(tell(one));
  EXPECT_EQ(b.run(claim(2, "instance_id")), one);
  EXPECT_EQ(invariants(), "");
}

TEST_F(Rated, ThoseInLineComeByPriorityAndKeyAndNobodyOvertakesThem) {
  c.run("SELECT set_queue('default', rate => 1, rate_period => '1 hour')");
  start_many(1);
  EXPECT_EQ(a.run(claims(1)), "1");
  c.run("SELECT start_workflow('w', '{}', 'first'), start_workflow('w', '{}', 'second')");
  EXPECT_EQ(a.run(claims(1)), "0");
  c.run("SELECT start_workflow('w', '{}', 'third')");
  c.run("SELECT start_workflow('w', '{}', 'urgent', priority => 1, key => 'k')");
  EXPECT_EQ(a.run(claims(1)), "0");
  std::string order;
  for (int n = 0; n < 4; ++n) {
    later();
    order += a.run(claim(1, "instance_id")) + " ";
  }
  EXPECT_EQ(order, "urgent first second third ");
  EXPECT_EQ(c.run("SELECT count(*) FROM pokes"), "0");
}

TEST_F(Rated, ANewcomerWaitsBehindThoseInLineAlsoWhenOneMayBegin) {
  c.run("SELECT set_queue('default', rate => 1, rate_period => '1 hour')");
  start_many(1);
  EXPECT_EQ(a.run(claims(1)), "1");
  c.run("SELECT start_workflow('w', '{}', 'in line')");
  EXPECT_EQ(a.run(claims(1)), "0");
  c.run("SELECT start_workflow('w', '{}', 'newcomer')");
  later();
  EXPECT_EQ(a.run(claim(1, "instance_id")), "in line");
  EXPECT_EQ(c.run("SELECT instance_id, lane FROM pokes"), "newcomer|r5");
}

TEST_F(Rated, WhoWasInLineBeginsWhenTheRateIsGone) {
  for (const std::string gone : {"SELECT set_queue('default', concurrency => 100)", "SELECT remove_queue('default')"}) {
    c.run("SELECT set_queue('default', rate => 1, rate_period => '1 hour')");
    c.run("SELECT start_workflow('w', '{}', gen_random_uuid()::text, priority => n) FROM generate_series(0, 4) n");
    EXPECT_EQ(a.run(claims(1)), "1");
    c.run(gone);
    EXPECT_EQ(a.run(claims(1)), "4");
    EXPECT_EQ(invariants(), "");
  }
}

TEST_F(Rated, TheRateIsKeptByAnyNumberOfClaims) {
  c.run("SELECT set_queue('default', rate => 100)");
  start_many(100);
  const std::string from = c.run("SELECT clock_timestamp()");
  int begun = 0;
  for (int n = 0; n < 200 && begun < 100; ++n) {
    begun += std::stoi((n % 2 == 0 ? a : b).run(claims(1 + n % 2)));
    const double seconds = std::stod(c.run("SELECT extract(epoch FROM clock_timestamp() - '" + from + "')"));
    EXPECT_LE(begun, 100 * (seconds + 0.1) + 1) << "a tenth of a second's worth may come at once";
  }
  EXPECT_GT(begun, 1);
  EXPECT_EQ(invariants(), "");
}

TEST_F(Rated, ARateIsRefusedByName) {
  EXPECT_EQ(c.error("SELECT set_queue('q', rate => 0)"), "22023 rate: 0 is not in 1 .. 1000000");
  EXPECT_THAT(c.error("SELECT set_queue('q', rate => 1, rate_period => '0')"), HasSubstr("22023 rate_period: must be from"));
  EXPECT_EQ(c.error("SELECT set_queue('q', rate => 1, rate_period => '1 month')"), "22023 rate_period: months have no fixed length");
}

}  // namespace
}  // namespace romancy::test
