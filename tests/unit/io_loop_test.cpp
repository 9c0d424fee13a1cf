#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <thread>

#include "common/base/unique_fd.hpp"
#include "common/io/signals.hpp"
#include "common/io/watch.hpp"
#include "tests/unit/io_until.hpp"

namespace romancy::io {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using testing::ElementsAre;

struct Pair {
  UniqueFd a, b;
};
Pair stream_pair() {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}
Pair pipe_pair() {
  int fds[2];
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TEST(Loop, PostsOfEveryThreadRunOnTheLoopAndInOrder) {
  Loop loop;
  constexpr int kThreads = 4, kPosts = 500;
  std::vector<int> last(kThreads, -1);
  int ran = 0;
  std::vector<std::thread> threads;
  const auto home = std::this_thread::get_id();
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i)
        loop.post([&, t, i] {
          EXPECT_EQ(std::this_thread::get_id(), home);
          EXPECT_EQ(last[t], i - 1);
          last[t] = i;
          ++ran;
        });
    });
  run_until(loop, [&] { return ran == kThreads * kPosts; });
  for (auto& thread : threads) thread.join();
}

TEST(Loop, TurnEndRunsOnceAfterAllThatTheTurnBrought) {
  Loop loop;
  std::vector<std::string> order;
  loop.post([&] {
    loop.at_turn_end([&] { order.emplace_back("end"); });
    order.emplace_back("first");
  });
  loop.post([&] { order.emplace_back("second"); });
  run_until(loop, [&] { return order.size() >= 3; });
  EXPECT_THAT(order, ElementsAre("first", "second", "end"));
}

TEST(Loop, TurnEndRecordedBeforeTheLoopRunsDoesNotWaitForAnEvent) {
  Loop loop;
  // Nothing else would ever wake this loop.
  loop.at_turn_end([&] { loop.at_turn_end([&] { loop.stop(); }); });
  loop.run();
}

TEST(Loop, TurnEndAskedForAtATurnEndLetsEventsInBetween) {
  Loop loop;
  const auto [reader, writer] = pipe_pair();
  int rounds = 0;
  bool readable = false;
  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  Watch watch(loop, reader.get(), [&](bool r, bool) {
    readable = r;
    watch.want(false, false);
  });
  watch.want(true, false);
  std::function<void()> again = [&] {
    if (readable) return loop.stop();
    if (++rounds < 1000) loop.at_turn_end(again);
  };
  loop.at_turn_end(again);
  loop.run();
  EXPECT_TRUE(readable);
}

TEST(Loop, WhatWasNeverRunIsLetGoWithTheLoop) {
  const auto thing = std::make_shared<int>(1);
  {
    Loop loop;
    loop.post([thing] {});
    loop.at_turn_end([alarm = std::make_shared<Alarm>(loop, [] {}), thing] {});
  }
  EXPECT_EQ(thing.use_count(), 1);
}

TEST(LoopDeathTest, AHandleThatOutlivesItsLoopIsABug) {
  EXPECT_DEATH(
      {
        auto loop = std::make_unique<Loop>();
        Alarm alarm(*loop, [] {});
        loop.reset();
      },
      "outlives its loop");
}

TEST(Alarm, ComesOnceAndNeverEarly) {
  Loop loop;
  int times = 0;
  Clock::time_point came;
  Alarm alarm(loop, [&] {
    ++times;
    came = Clock::now();
  });
  const auto due = Clock::now() + 5ms;
  alarm.set_at(due);
  EXPECT_TRUE(alarm.armed());
  run_until(loop, [&] { return times > 0; });
  EXPECT_GE(came, due);
  EXPECT_FALSE(alarm.armed());
  bool later = false;
  Alarm after(loop, [&] { later = true; });
  after.set_in(20ms);
  run_until(loop, [&] { return later; });
  EXPECT_EQ(times, 1);
}

TEST(Alarm, AMomentInThePastIsDueOnTheNextTurn) {
  Loop loop;
  int times = 0;
  Alarm a(loop, [&] { ++times; }), b(loop, [&] { ++times; }), c(loop, [&] { ++times; });
  a.set_in(0ns);
  b.set_in(-1h);
  c.set_at(Clock::time_point{});
  EXPECT_EQ(times, 0);
  run_until(loop, [&] { return times == 3; });
}

TEST(Alarm, ComesAlsoWhenNoDescriptorWasLeftForIt) {
#ifdef ROMANCY_SANITIZE
  GTEST_SKIP() << "the sanitizer's own checks need descriptors, and take their lack for a fault of ours";
#endif
  Loop loop;
  std::vector<std::string> came;
  Clock::time_point when;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::unique_ptr<Alarm> alarm;
  alarm = std::make_unique<Alarm>(loop, [&] {
    came.emplace_back("alarm");
    when = Clock::now();
    alarm.reset();  // it may
  });
  auto gone = std::make_unique<Alarm>(loop, [&] { came.emplace_back("gone"); });
  Alarm cancelled(loop, [&] { came.emplace_back("cancelled"); }), end(loop, [&] { came.emplace_back("end"); });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  alarm->set_in(1h);
  const auto due = Clock::now() + 5ms;
  alarm->set_at(due);
  EXPECT_TRUE(alarm->armed());
  gone->set_in(1ms);
  gone.reset();
  cancelled.set_in(1ms);
  cancelled.cancel();
  EXPECT_FALSE(cancelled.armed());
  end.set_in(20ms);
  run_until(loop, [&] { return came.size() == 2; });
  EXPECT_THAT(came, ElementsAre("alarm", "end"));
  EXPECT_GE(when, due);
}

TEST(Alarm, SettingMovesItAndCancellingSilencesIt) {
  Loop loop;
  std::vector<std::string> came;
  Alarm moved(loop, [&] { came.emplace_back("moved"); }), cancelled(loop, [&] { came.emplace_back("cancelled"); });
  Alarm far(loop, [&] { came.emplace_back("far"); }), end(loop, [&] { came.emplace_back("end"); });
  moved.set_in(1h);
  moved.set_in(5ms);
  cancelled.set_in(5ms);
  cancelled.cancel();
  EXPECT_FALSE(cancelled.armed());
  far.set_in(std::chrono::nanoseconds::max());
  EXPECT_TRUE(far.armed());
  end.set_in(30ms);
  run_until(loop, [&] { return came.size() >= 2; });
  EXPECT_THAT(came, ElementsAre("moved", "end"));
}

TEST(Alarm, CancelledInTheTurnInWhichItIsDueDoesNotCome) {
  Loop loop;
  bool wrong = false;
  bool done = false;
  std::unique_ptr<Alarm> a, b;
  // Both are due in the same turn; whichever comes first silences the other.
  a = std::make_unique<Alarm>(loop, [&] { b ? b->cancel() : void(); wrong = done; done = true; });
  b = std::make_unique<Alarm>(loop, [&] { a ? a->cancel() : void(); wrong = done; done = true; });
  a->set_in(0ns);
  b->set_in(0ns);
  run_until(loop, [&] { return done; });
  EXPECT_FALSE(wrong);
}

TEST(Alarm, CallbackMaySetItAgainOrDestroyIt) {
  Loop loop;
  int times = 0;
  std::unique_ptr<Alarm> alarm;
  const auto captured = std::make_shared<int>(7);
  alarm = std::make_unique<Alarm>(loop, [&, captured] {
    if (++times < 3) return alarm->set_in(100us);
    alarm.reset();
    EXPECT_EQ(*captured, 7);  // the callback outlives the Alarm until it returns
  });
  alarm->set_in(0ns);
  run_until(loop, [&] { return alarm == nullptr; });
  EXPECT_EQ(times, 3);
}

TEST(Watch, TellsReadableAndWritableAndIsQuietWhenNothingIsWanted) {
  Loop loop;
  auto [a, b] = stream_pair();
  int readable = 0, writable = 0;
  Watch watch(loop, a.get(), [&](bool r, bool w) {
    readable += r;
    writable += w;
    if (w) watch.want(true, false);
    if (r) watch.want(false, false);
  });
  watch.want(false, true);
  run_until(loop, [&] { return writable == 1; });
  EXPECT_EQ(readable, 0);
  ASSERT_EQ(::write(b.get(), "x", 1), 1);
  run_until(loop, [&] { return readable == 1; });
  bool later = false;
  Alarm after(loop, [&] { later = true; });
  after.set_in(5ms);
  run_until(loop, [&] { return later; });
  EXPECT_EQ(readable, 1);
  EXPECT_EQ(writable, 1);
}

TEST(Watch, AnErrorIsReportedAsReadableAndWritableUntilItIsDealtWith) {
  Loop loop;
  auto [reader, writer] = pipe_pair();
  int told = 0;
  std::unique_ptr<Watch> watch;
  watch = std::make_unique<Watch>(loop, writer.get(), [&](bool r, bool w) {
    EXPECT_TRUE(r && w);
    if (++told == 3) watch.reset();
  });
  watch->want(true, false);  // a pipe's writing end is never readable: only POLLERR can come
  reader.reset();
  run_until(loop, [&] { return watch == nullptr; });
  EXPECT_EQ(told, 3);
}

TEST(Watch, MayBeReplacedOnTheSameDescriptorInItsCallback) {
  Loop loop;
  auto [a, b] = stream_pair();
  const int fd = a.get();  // clang 14 lets no lambda capture the a of [a, b]
  int turns = 0;
  std::unique_ptr<Watch> watch;
  std::function<void()> renew = [&] {
    watch.reset();
    if (++turns > 5) return;
    watch = std::make_unique<Watch>(loop, fd, [&, captured = std::make_shared<int>(7)](bool, bool) {
      renew();
      EXPECT_EQ(*captured, 7);  // the callback outlives the Watch until it returns
    });
    watch->want(false, true);
  };
  renew();
  run_until(loop, [&] { return turns > 5; });
}

TEST(Signals, EachIsToldAndTheCallbackMayDestroyIt) {
  Loop loop;
  std::vector<int> came;
  std::unique_ptr<Signals> signals;
  signals = std::make_unique<Signals>(loop, std::initializer_list<int>{SIGUSR1, SIGUSR2}, [&](int signal) {
    came.push_back(signal);
    if (signal == SIGUSR2) signals.reset();
  });
  ::raise(SIGUSR1);
  run_until(loop, [&] { return came.size() == 1; });
  ::raise(SIGUSR2);
  run_until(loop, [&] { return signals == nullptr; });
  EXPECT_THAT(came, ElementsAre(SIGUSR1, SIGUSR2));
}

}  // namespace
}  // namespace romancy::io
