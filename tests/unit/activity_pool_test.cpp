// The threads of blocking activities: results, time-outs, threads that do not come back; and many moments on one alarm.
#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <set>

#include "resumer/activity_pool.hpp"
#include "tests/unit/io_until.hpp"

namespace romancy::resumer {
namespace {

using namespace std::chrono_literals;

ActivityOutcome value(const std::string& data) {
  ActivityOutcome outcome;
  outcome.ok = true;
  outcome.data = data;
  return outcome;
}

TEST(ActivityPool, EveryResultComesOnceOnTheLoop) {
  io::Loop loop;
  ActivityPool pool(loop, 4);
  const auto loops_thread = std::this_thread::get_id();
  std::multiset<std::string> results;
  std::atomic<int> elsewhere = 0;
  for (int i = 0; i < 500; ++i) {
    pool.submit({.name = "a",
                 .timeout = i % 2 == 0 ? 1h : 0ms,
                 .stop = {},
                 .work =
                     [&, i](const std::stop_token&) {
                       if (std::this_thread::get_id() != loops_thread) ++elsewhere;
                       return value(std::to_string(i));
                     },
                 .done = [&](std::optional<ActivityOutcome> outcome) {
                   EXPECT_EQ(std::this_thread::get_id(), loops_thread);
                   results.insert(outcome ? outcome->data : "timed out");
                 }});
  }
  io::run_until(loop, [&] { return results.size() == 500; });
  EXPECT_EQ(std::set<std::string>(results.begin(), results.end()).size(), 500u);
  EXPECT_EQ(elsewhere, 500);
  EXPECT_FALSE(pool.busy());
}

// One thread, and its function does not return: the next job runs all the same, the late result is dropped, and the
// pool is as large as before once the function has returned.
TEST(ActivityPool, AThreadThatDoesNotComeBackIsReplacedUntilItDoes) {
  io::Loop loop;
  ActivityPool pool(loop, 1);
  std::binary_semaphore gate{0};
  std::stop_source stop;
  std::vector<std::string> told;
  const auto tell = [&](std::optional<ActivityOutcome> outcome) { told.push_back(outcome ? outcome->data : "timed out"); };
  pool.submit({.name = "stuck", .timeout = 1ms, .stop = stop,
               .work = [&](const std::stop_token&) { gate.acquire(); return value("late"); }, .done = tell});
  pool.submit({.name = "next", .timeout = 0ms, .stop = {},
               .work = [](const std::stop_token&) { return value("next"); }, .done = tell});
  io::run_until(loop, [&] { return told.size() == 2; });
  EXPECT_EQ(told, (std::vector<std::string>{"timed out", "next"}));
  EXPECT_TRUE(stop.stop_requested());
  EXPECT_TRUE(pool.busy());
  EXPECT_EQ(pool.threads(), 2u);
  bool idle = false;
  pool.on_idle([&] { idle = true; });
  gate.release();
  io::run_until(loop, [&] { return idle; });
  EXPECT_EQ(pool.threads(), 1u);
  EXPECT_EQ(told.size(), 2u);
}

TEST(ActivityPool, AtMostAsManyThreadsAreReplacedAsThereWere) {
  io::Loop loop;
  ActivityPool pool(loop, 2);
  std::counting_semaphore<16> gate{0};
  int timed_out = 0, ended = 0;
  for (int i = 0; i < 4; ++i) {
    pool.submit({.name = "stuck", .timeout = 1ms, .stop = {},
                 .work = [&](const std::stop_token&) { gate.acquire(); return value("late"); },
                 .done = [&](std::optional<ActivityOutcome> outcome) { timed_out += outcome ? 0 : 1; }});
  }
  pool.submit({.name = "waits", .timeout = 0ms, .stop = {}, .work = [](const std::stop_token&) { return value("x"); },
               .done = [&](std::optional<ActivityOutcome>) { ++ended; }});
  io::run_until(loop, [&] { return timed_out == 4; });
  EXPECT_EQ(pool.threads(), 4u);  // two of them replaced; the other two are missed
  EXPECT_EQ(ended, 0);
  gate.release(4);
  io::run_until(loop, [&] { return !pool.busy(); });
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(pool.threads(), 2u);
}

TEST(ActivityPool, AJobWhoseTimeDoesNotCountAnyMoreIsWaitedFor) {
  io::Loop loop;
  ActivityPool pool(loop, 1);
  std::binary_semaphore began{0}, gate{0};
  std::string told;
  const auto id = pool.submit({.name = "commits", .timeout = 1h, .stop = {},
                               .work =
                                   [&](const std::stop_token&) {
                                     began.release();
                                     gate.acquire();
                                     return value("in the end");
                                   },
                               .done = [&](std::optional<ActivityOutcome> outcome) { told = outcome ? outcome->data : "timed out"; }});
  began.acquire();
  pool.untimed(id);
  gate.release();
  io::run_until(loop, [&] { return !told.empty(); });
  EXPECT_EQ(told, "in the end");
}

TEST(ActivityPool, WhatHasNotBegunCanBeForgotten) {
  io::Loop loop;
  ActivityPool pool(loop, 1);
  std::binary_semaphore began{0}, gate{0};
  int done = 0;
  const auto count = [&](std::optional<ActivityOutcome>) { ++done; };
  pool.submit({.name = "first", .timeout = 0ms, .stop = {},
               .work = [&](const std::stop_token&) { began.release(); gate.acquire(); return value("1"); }, .done = count});
  began.acquire();
  for (int i = 0; i < 5; ++i) {
    pool.submit({.name = "x", .timeout = 0ms, .stop = {}, .work = [](const std::stop_token&) { return value("x"); },
                 .done = count});
  }
  EXPECT_EQ(pool.drop_queued(), 5u);
  gate.release();
  io::run_until(loop, [&] { return !pool.busy(); });
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace romancy::resumer

namespace romancy::io {
namespace {

using namespace std::chrono_literals;

TEST(Alarms, CallBackInTheOrderOfTheirMoments) {
  Loop loop;
  Alarms alarms(loop);
  std::string order;
  alarms.set_in(3ms, [&] { order += "c"; });
  alarms.set_in(1ms, [&] { order += "a"; });
  const auto never = alarms.set_in(1ms, [&] { order += "x"; });
  alarms.set_in(2ms, [&] { order += "b"; });
  alarms.cancel(never);
  alarms.cancel(never);
  run_until(loop, [&] { return alarms.size() == 0; });
  EXPECT_EQ(order, "abc");
}

TEST(Alarms, ACallbackMaySetAndCancelOthers) {
  Loop loop;
  Alarms alarms(loop);
  int rang = 0;
  Alarms::Id other = 0;
  alarms.set_in(1ms, [&] {
    alarms.cancel(other);
    alarms.set_in(0ms, [&] { ++rang; });
  });
  other = alarms.set_in(1ms, [&] { rang += 100; });
  run_until(loop, [&] { return rang > 0; });
  EXPECT_EQ(rang, 1);
  EXPECT_EQ(alarms.size(), 0u);
}

}  // namespace
}  // namespace romancy::io
