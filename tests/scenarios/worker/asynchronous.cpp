// Asynchronous: activities that wait without a thread.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <set>
#include <system_error>
#include <thread>

#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Async;
using romancy::AsyncAttempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

Async<int> doze(AsyncAttempt& at, int ms) {
  co_await at.sleep(std::chrono::milliseconds(ms));
  co_return ms;
}
const auto async_nap = romancy::async_activity("async_nap", [](AsyncAttempt& at, int ms) -> Async<int> {
  int slept = 0;
  for (int i = 0; i < 3; ++i) slept += co_await doze(at, ms);
  co_return slept;
});

// Another thread does what blocks, and tells it the result.
const auto async_hold = romancy::async_activity("async_hold", [](AsyncAttempt& at, std::string gate) -> Async<std::string> {
  const auto begin = [&at, gate](romancy::Completion<std::string> done) {  // a variable: see romancy/context.hpp on g++ 12
    std::thread([done, gate, id = at.instance_id(), key = at.key(), number = at.number(), stop = at.stop_token()] {
      const romancy::Attempt same(id, number, key, stop);  // the attempt itself may be over before this thread is
      world::effect(same, "held");
      const bool opened = world::wait_for_gate(same, gate);
      world::effect(same, opened ? "opened" : "stopped");
      done(gate);
    }).detach();
  };
  co_return co_await at.completed<std::string>(begin);
});
const auto async_told = romancy::async_activity(
    "async_told",
    [](AsyncAttempt& at, std::string how) -> Async<std::string> {
      world::effect(at, "asked");
      const auto begin = [how](romancy::Completion<std::string> done) {
        if (how == "fail") done.fail("CardDeclined", "no money");
        if (how == "at once") done("told");
        if (how == "twice") std::thread([done] { done("first"), done("second"), done.fail("Third", "word"); }).detach();
        if (how == "throw") throw std::runtime_error("could not begin");
      };  // "never": the last copy has gone
      co_return co_await at.completed<std::string>(begin);
    },
    {.retry = {.attempts = 2, .first_interval = 1ms, .non_retryable = {"CardDeclined"}}});
const auto async_flaky = romancy::async_activity(
    "async_flaky",
    [](AsyncAttempt& at, int failures) -> Async<int> {
      world::effect(at, "try");
      co_await at.sleep(1ms);
      if (at.number() <= failures) throw std::runtime_error("not yet");
      co_return at.number();
    },
    {.retry = {.attempts = 4, .first_interval = 2ms}});
const auto async_hasty = romancy::async_activity(
    "async_hasty", [](AsyncAttempt& at) -> Async<> { co_await at.sleep(1h); },
    {.retry = {.attempts = 2, .first_interval = 1ms}, .timeout = 50ms});

// Through a pipe: another thread writes, and the descriptor becomes readable.
const auto async_pipe = romancy::async_activity("async_pipe", [](AsyncAttempt& at, std::string text) -> Async<std::string> {
  struct Pipe {
    int ends[2] = {-1, -1};
    Pipe() {
      if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    }
    ~Pipe() {
      for (const int fd : ends) ::close(fd);
    }
  } pipe;
  std::thread writer([fd = pipe.ends[1], text] {
    if (::write(fd, text.data(), text.size()) < 0) std::perror("write");
  });
  writer.detach();
  co_await at.readable(pipe.ends[0]);
  std::string got(text.size(), '?');
  const auto read = ::read(pipe.ends[0], got.data(), got.size());
  got.resize(read < 0 ? 0 : static_cast<std::size_t>(read));
  co_return got;
});

// Ends when so many of its instance wait at once. (One thread, the loop, looks at the map.)
const auto async_meet = romancy::async_activity("async_meet", [](AsyncAttempt& at, int wanted) -> Async<int> {
  static std::map<std::string, std::set<std::string>> here;
  here[at.instance_id()].insert(at.key());
  while (static_cast<int>(here[at.instance_id()].size()) < wanted) co_await at.sleep(2ms);
  co_return 1;
});

const auto dozes = romancy::workflow("dozes", [](Context& ctx, int ms) -> Task<int> { co_return co_await ctx.run(async_nap, ms); });
const auto async_held = romancy::workflow("async_held", [](Context& ctx, std::string gate) -> Task<std::string> {
  const std::string said = co_await ctx.run(async_hold, gate);
  co_await ctx.sleep(1ms);
  co_return said;
});
const auto is_told = romancy::workflow("is_told", [](Context& ctx, std::string how) -> Task<std::string> {
  const auto outcome = co_await ctx.attempt(async_told, how);
  co_await ctx.sleep(1ms);
  if (outcome.ok()) co_return outcome.value();
  co_return outcome.error().type() + ": " + outcome.error().message() + " at " + std::to_string(outcome.error().attempt());
});
const auto async_retried = romancy::workflow("async_retried", [](Context& ctx, int failures) -> Task<int> {
  co_return co_await ctx.run(async_flaky, failures);
});
const auto async_in_haste = romancy::workflow("async_in_haste", [](Context& ctx) -> Task<std::string> {
  const auto outcome = co_await ctx.attempt(async_hasty);
  co_return outcome.ok() ? "?" : outcome.error().type() + " at " + std::to_string(outcome.error().attempt());
});
const auto piped = romancy::workflow("piped", [](Context& ctx, std::string text) -> Task<std::string> {
  co_return co_await ctx.run(async_pipe, text);
});
const auto meets = romancy::workflow("meets", [](Context& ctx, int count) -> Task<int> {
  std::vector<romancy::Future<int>> all;
  for (int i = 0; i < count; ++i) all.push_back(ctx.start(ctx.run(async_meet, count)));
  const auto done = co_await ctx.wait_all(all);
  co_return static_cast<int>(done.size());
});
const auto async_overtaken = romancy::workflow("async_overtaken", [](Context& ctx, std::string gate) -> Task<std::string> {
  auto first = co_await ctx.when_any(ctx.run(async_hold, gate), ctx.receive<std::string>("stop"));
  const std::string how = first.index() == 0 ? first.get<0>() : first.get<1>();
  co_await ctx.receive<Json>("go on");
  co_return how;
});

}  // namespace

void add_asynchronous(Program& program) {
  program.activities.insert(program.activities.end(), {async_nap, async_hold, async_told, async_flaky, async_hasty, async_pipe, async_meet});
  program.workflows.insert(program.workflows.end(), {dozes, async_held, is_told, async_retried, async_in_haste, piped, meets, async_overtaken});
}
