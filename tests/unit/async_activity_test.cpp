// Asynchronous activities on a loop: every way to wait, every way to be stopped.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "common/base/unique_fd.hpp"
#include "resumer/async_activities.hpp"
#include "tests/unit/io_until.hpp"

namespace romancy::resumer {
namespace {

using namespace std::chrono_literals;

class AsyncActivity : public testing::Test {
 protected:
  template <class A>
  std::stop_source submit(const A& activity, int op = 1, const std::string& input = "null") {
    std::stop_source stop;
    async->submit({.definition = static_cast<const detail::AsyncDefinition*>(&activity.definition()),
                   .start = {op, 1, activity.name(), input, "i-1:1:0", 0ms},
                   .instance_id = "i-1",
                   .stop = stop,
                   .done = [this](const ActivityOutcome& outcome) {
                     ++told;
                     outcomes[outcome.op] = outcome.ok ? outcome.data : outcome.error_type;
                   }});
    return stop;
  }
  void until(const std::function<bool()>& fact) { io::run_until(loop, fact); }

  io::Loop loop;
  int told = 0;
  std::map<int, std::string> outcomes;
  std::unique_ptr<AsyncActivities> async = std::make_unique<AsyncActivities>(loop, 5000);
};

Async<int> twice(AsyncAttempt& at, int n) {
  co_await at.sleep(1ms);
  co_return 2 * n;
}

TEST_F(AsyncActivity, ThousandsWaitAtOnceWithoutAThread) {
  int waiting = 0, most = 0;
  const auto nap = async_activity("nap", [&](AsyncAttempt& at, int n) -> Async<int> {
    most = std::max(most, ++waiting);
    co_await at.sleep(50ms);
    --waiting;
    const int result = co_await twice(at, n);
    co_return result;
  });
  for (int i = 0; i < 3000; ++i) submit(nap, i, std::to_string(i));
  until([&] { return told == 3000; });
  EXPECT_GT(most, 1000);
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(outcomes[i], std::to_string(2 * i));
  EXPECT_EQ(async->running(), 0u);
}

TEST_F(AsyncActivity, NoMoreThanTheBoundRunAtOnce) {
  async = std::make_unique<AsyncActivities>(loop, 3);
  int running = 0, most = 0;
  const auto nap = async_activity("nap", [&](AsyncAttempt& at) -> Async<> {
    most = std::max(most, ++running);
    co_await at.sleep(1ms);
    --running;
  });
  for (int i = 0; i < 20; ++i) submit(nap, i);
  until([&] { return told == 20; });
  EXPECT_EQ(most, 3);
}

// Many threads tell at once, some twice, some an error, some nothing at all.
TEST_F(AsyncActivity, ACompletionMayComeFromAnyThread) {
  std::vector<std::thread> threads;
  const auto answer = async_activity("answer", [&](AsyncAttempt& at, int n) -> Async<int> {
    const int value = co_await at.completed<int>([&, n](auto done) {
      threads.emplace_back([done, n] {
        if (n % 4 == 0) return;
        if (n % 4 == 1) done.fail("Declined", "no");
        done(n);
        done(-1);
      });
    });
    co_return value;
  });
  for (int i = 0; i < 200; ++i) submit(answer, i, std::to_string(i));
  until([&] { return told == 200; });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(outcomes[i], i % 4 == 0 ? "NeverCompleted" : i % 4 == 1 ? "Declined" : std::to_string(i));
  }
}

TEST_F(AsyncActivity, ACompletionThatComesAfterTheEndIsIgnored) {
  std::optional<Completion<void>> kept;
  const auto answer = async_activity("answer", [&](AsyncAttempt& at) -> Async<> {
    co_await at.completed<void>([&](auto done) { kept.emplace(done); });
  });
  auto stop = submit(answer);
  until([&] { return kept.has_value(); });
  stop.request_stop();
  until([&] { return told == 1; });
  EXPECT_EQ(outcomes[1], "Stopped");
  std::thread late([&] { (*kept)(); });
  late.join();
  async.reset();  // and after the end of everything
  (*kept)();
  kept.reset();
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(told, 1);
}

TEST_F(AsyncActivity, WaitsForDescriptors) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd one(pair[0]), other(pair[1]);
  const auto reader = async_activity("reader", [&](AsyncAttempt& at) -> Async<std::string> {
    co_await at.readable(one.get());
    char text[8];
    const auto got = ::read(one.get(), text, sizeof text);
    co_return std::string(text, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  });
  const auto writer = async_activity("writer", [&](AsyncAttempt& at) -> Async<> {
    co_await at.writable(one.get());  // the same descriptor as the reader's
    co_await at.writable(other.get());
    if (::write(other.get(), "hello", 5) != 5) throw std::runtime_error("short write");
  });
  const auto file = async_activity("file", [](AsyncAttempt& at) -> Async<> {
    const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    co_await at.readable(null.get());
  });
  const auto none = async_activity("none", [](AsyncAttempt& at) -> Async<> { co_await at.readable(-1); });
  submit(reader, 1);
  submit(writer, 2);
  submit(file, 3);
  submit(none, 4);
  until([&] { return told == 4; });
  EXPECT_EQ(outcomes[1], "\"hello\"");
  EXPECT_EQ(outcomes[2], "null");
  EXPECT_EQ(outcomes[3], "null");
  EXPECT_EQ(outcomes[4], "std::system_error");
}

TEST_F(AsyncActivity, AStopInterruptsEveryWaitAtOnce) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd one(pair[0]), other(pair[1]);
  int began = 0, unwound = 0;
  struct Unwinds {
    int& count;
    ~Unwinds() { ++count; }
  };
  const auto waits = async_activity("waits", [&](AsyncAttempt& at, int how) -> Async<> {
    const Unwinds unwinds{unwound};
    ++began;
    if (how == 0) co_await at.sleep(1h);
    if (how == 1) co_await at.readable(one.get());
    std::vector<Completion<void>> keep;
    auto begin = [&keep](auto done) { keep.push_back(done); };
    if (how == 2) co_await at.completed<void>(begin);
  });
  std::vector<std::stop_source> stops;
  for (int i = 0; i < 3; ++i) stops.push_back(submit(waits, i, std::to_string(i)));
  until([&] { return began == 3; });
  EXPECT_EQ(told, 0);
  for (auto& stop : stops) stop.request_stop();
  until([&] { return told == 3; });
  EXPECT_EQ(unwound, 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(outcomes[i], "Stopped") << i;
}

TEST_F(AsyncActivity, ATimeOutFailsTheAttemptAtOnceAndItsCoroutineUnwinds) {
  bool caught = false;
  const auto slow = async_activity("slow", [&](AsyncAttempt& at) -> Async<int> {
        try {
          co_await at.sleep(1h);
        } catch (const Stopped&) {
          caught = true;
        }
        co_return 7;  // too late
      }, {.timeout = 1ms});
  submit(slow);
  until([&] { return told == 1 && async->running() == 0; });
  EXPECT_EQ(outcomes[1], "AttemptTimedOut");
  EXPECT_TRUE(caught);
  EXPECT_EQ(told, 1);
}

TEST_F(AsyncActivity, OneThatWillNotStopIsDestroyed) {
  bool destroyed = false;
  struct Tells {
    bool& it;
    ~Tells() { it = true; }
  };
  const auto stubborn = async_activity("stubborn", [&](AsyncAttempt& at) -> Async<> {
    const Tells tells{destroyed};
    for (;;) {
      try {
        co_await at.sleep(1h);
      } catch (const Stopped&) {
      }
    }
  });
  auto stop = submit(stubborn);
  until([&] { return async->running() == 1; });
  stop.request_stop();
  until([&] { return told == 1; });
  EXPECT_EQ(outcomes[1], "Stopped");
  EXPECT_TRUE(destroyed);
}

TEST_F(AsyncActivity, ErrorsAndBadInputsAreOutcomes) {
  const auto fails = async_activity("fails", [](AsyncAttempt& at, int n) -> Async<int> {
    if (n == 0) throw std::out_of_range("before it waits");
    co_await at.sleep(1ms);
    if (n == 1) throw TerminalError("no", "Declined");
    throw 7;
  });
  for (int i = 0; i < 3; ++i) submit(fails, i, std::to_string(i));
  submit(fails, 3, R"("text")");
  until([&] { return told == 4; });
  EXPECT_EQ(outcomes[0], "std::out_of_range");
  EXPECT_EQ(outcomes[1], "Declined");
  EXPECT_EQ(outcomes[2], "int");
  EXPECT_EQ(outcomes[3], "BadData");
}

Async<int> one(int n) { co_return n; }

TEST_F(AsyncActivity, ManyAwaitsThatAreReadyAtOnceDoNotDeepenTheStack) {
  const auto loops = async_activity("loops", [](AsyncAttempt&) -> Async<int> {
    int sum = 0;
    for (int i = 0; i < 100'000; ++i) sum += co_await one(1);
    co_return sum;
  });
  submit(loops);
  until([&] { return told == 1; });
  EXPECT_EQ(outcomes[1], "100000");
}

TEST_F(AsyncActivity, WhatStillWaitsAtTheEndIsDestroyed) {
  const auto waits = async_activity("waits", [](AsyncAttempt& at) -> Async<> {
    const auto held = std::make_unique<int>(1);  // ASan looks
    co_await at.sleep(1h);
  });
  for (int i = 0; i < 10; ++i) submit(waits, i);
  until([&] { return async->running() == 10; });
  async.reset();
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace romancy::resumer
