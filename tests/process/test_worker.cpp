// test_worker: the workflows of the engine's tests. Activities leave their effects in the table `effects` of the
// test's schema: one row a key, with the number of times it was done.
#include <cstdlib>
#include <mutex>
#include <romancy/romancy.hpp>
#include <stdexcept>
#include <thread>

#include "common/pg/blocking.hpp"
#include "tests/support/noting_hooks.hpp"

using namespace std::chrono_literals;
using romancy::Attempt;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

struct Parcel {
  std::string id;
  std::int64_t cents = 0;
  std::vector<std::string> items;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Parcel, id, cents, items)

romancy::pg::Blocking& database() {
  thread_local std::unique_ptr<romancy::pg::Blocking> connection;
  if (!connection || !connection->query("SELECT 1")) {
    romancy::pg::ConnOptions options;
    options.conninfo = std::getenv("ROMANCY_TEST_PG");
    options.schema = std::getenv("ROMANCY_TEST_SCHEMA");
    options.application_name = "test_worker activity";
    auto opened = romancy::pg::Blocking::connect(options);
    if (!opened) throw std::runtime_error(opened.error().text);
    connection = std::make_unique<romancy::pg::Blocking>(std::move(*opened));
  }
  return *connection;
}

std::int64_t effect(const std::string& key) {
  auto rows = database().query(
      "INSERT INTO effects (key, times) VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET times = effects.times + 1 RETURNING times",
      romancy::pg::Params(key));
  if (!rows) throw std::runtime_error(rows.error().text);
  return rows->int64(0, 0);
}

// Leaves an effect under the attempt's idempotency key.
const auto mark = romancy::activity("mark", [](Attempt& at, std::string what) {
  effect(what + "|" + at.key());
  return what;
});

const auto pack = romancy::activity("pack", [](Attempt& at, Parcel parcel) {
  effect("pack|" + at.key());
  parcel.items.push_back("label");
  return parcel;
});

// Runs until somebody inserts `what` into the table gates: a test holds it there and kills the worker.
const auto hold = romancy::activity("hold", [](Attempt& at, std::string what) {
  effect("held|" + what);
  for (;;) {
    auto rows = database().query("SELECT 1 FROM gates WHERE name = $1", romancy::pg::Params(what));
    if (!rows) throw std::runtime_error(rows.error().text);
    if (!rows->empty()) break;
    if (at.stop_requested()) {
      effect("stopped|" + what);
      break;
    }
    std::this_thread::yield();
  }
  return what;
});

const auto flaky = romancy::activity(
    "flaky",
    [](Attempt& at, int failures) {
      effect("flaky|" + at.key());
      if (at.number() <= failures) throw std::runtime_error("not yet");
      return at.number();
    },
    {.retry = {.attempts = 4, .first_interval = 10ms}});

const auto undo = romancy::activity("undo", [](Attempt& at, std::string what) { effect("undo|" + what + "|" + at.key()); });

const auto echo = romancy::workflow("echo", [](Context&, Json input) -> Task<Json> { co_return input; });

const auto steps = romancy::workflow("steps", [](Context& ctx, int count) -> Task<int> {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    const std::string what = "step " + std::to_string(i);
    co_await ctx.run(mark, what);
    ++sum;
  }
  co_return sum;
});

const auto naps = romancy::workflow("naps", [](Context& ctx, int count) -> Task<int> {
  for (int i = 0; i < count; ++i) {
    const std::string before = "before " + std::to_string(i);
    co_await ctx.run(mark, before);
    co_await ctx.sleep(20ms);
  }
  co_return count;
});

const auto parcel = romancy::workflow("parcel", [](Context& ctx, Parcel input) -> Task<Parcel> {
  Parcel packed = co_await ctx.run(pack, input);
  auto note = co_await ctx.receive<Json>("note");
  packed.items.push_back(note.at("text").get<std::string>());
  co_return packed;
});

// Receives `count` messages and returns them in order.
const auto mailbox = romancy::workflow("mailbox", [](Context& ctx, int count) -> Task<std::vector<int>> {
  std::vector<int> all;
  for (int i = 0; i < count; ++i) all.push_back(co_await ctx.receive<int>("mail"));
  co_return all;
});

const auto two_channels = romancy::workflow("two_channels", [](Context& ctx) -> Task<std::vector<int>> {
  std::vector<int> all;
  all.push_back(co_await ctx.receive<int>("first"));
  all.push_back(co_await ctx.receive<int>("second"));
  co_return all;
});

const auto listening = romancy::workflow("listening", [](Context& ctx) -> Task<int> {
  ctx.subscribe("news");
  const std::string what = "subscribed";
  co_await ctx.run(mark, what);
  co_return co_await ctx.receive<int>("news");
});

const auto patient = romancy::workflow("patient", [](Context& ctx, int within_ms) -> Task<std::string> {
  try {
    co_await ctx.receive<Json>("never", {.within = std::chrono::milliseconds(within_ms)});
  } catch (const romancy::TimedOut&) {
    co_return "timed out";
  }
  co_return "received";
});

// Publishes to another instance and sends an event, then suspends many times: each replay must not do it again.
const auto once = romancy::workflow("once", [](Context& ctx, std::string other) -> Task<int> {
  ctx.publish("mail", 1, {.to = other});
  ctx.send_event("test.sent", "test", Json{{"n", 9007199254740993}});
  for (int i = 0; i < 5; ++i) co_await ctx.sleep(5ms);
  co_return 5;
});

const auto holder = romancy::workflow("holder", [](Context& ctx, std::string what) -> Task<std::string> {
  const std::string held = co_await ctx.run(hold, what);
  co_await ctx.sleep(1ms);  // where a cancellation that came during the activity is seen
  co_return held;
});

const auto retrying = romancy::workflow("retrying", [](Context& ctx, int failures) -> Task<int> {
  co_return co_await ctx.run(flaky, failures);
});

const auto saga = romancy::workflow("saga", [](Context& ctx, std::string what) -> Task<std::string> {
  const std::string first = what + " 1", second = what + " 2";
  co_await ctx.run(mark, first);
  ctx.compensate_with(undo, first);
  co_await ctx.run(mark, second);
  ctx.compensate_with(undo, second);
  co_await ctx.receive<Json>("go on");
  co_return "done";
});

// Says what it waits for.
const auto reporter = romancy::workflow("reporter", [](Context& ctx, std::string channel) -> Task<Json> {
  ctx.set_status(Json{{"waits for", channel}});
  Json got = co_await ctx.receive<Json>(channel);
  ctx.set_status("done");
  co_return got;
});

// Its code differs from one worker to the next: a mismatch for whoever replays with the other.
const auto changing = romancy::workflow("changing", [](Context& ctx) -> Task<std::string> {
  const bool other = std::getenv("ROMANCY_TEST_OTHER_CODE") != nullptr;
  const std::string what = "changed";
  if (other) {
    co_await ctx.run(undo, what);
  } else {
    co_await ctx.run(mark, what);
  }
  co_await ctx.receive<Json>("go on");
  co_return "done";
});

// Kills its own process, again and again.
const auto die = romancy::activity("die", [](Attempt&) { std::_Exit(9); });
const auto killer = romancy::workflow("killer", [](Context& ctx) -> Task<void> { co_await ctx.run(die); });

const auto later_killer = romancy::workflow("later_killer", [](Context& ctx) -> Task<void> {
  const std::string what = "first";
  co_await ctx.run(mark, what);
  co_await ctx.run(die);
});

const auto two_channels_many = romancy::workflow("two_channels_many", [](Context& ctx, int count) -> Task<std::vector<int>> {
  co_await ctx.receive<int>("first");
  std::vector<int> all;
  for (int i = 0; i < count; ++i) all.push_back(co_await ctx.receive<int>("second"));
  co_return all;
});

// One of those that compete for jobs: is busy with each until a gate opens.
const auto consumer = romancy::workflow("consumer", [](Context& ctx, int count) -> Task<std::vector<std::string>> {
  ctx.subscribe("jobs", romancy::ChannelMode::competing);
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) {
    all.push_back(co_await ctx.receive<std::string>("jobs"));
    co_await ctx.run(hold, all.back());
  }
  co_return all;
});

// As `changing`, and competes for a job.
const auto changing_consumer = romancy::workflow("changing_consumer", [](Context& ctx) -> Task<std::string> {
  ctx.subscribe("jobs", romancy::ChannelMode::competing);
  const std::string what = "changed";
  if (std::getenv("ROMANCY_TEST_OTHER_CODE") != nullptr) {
    co_await ctx.run(undo, what);
  } else {
    co_await ctx.run(mark, what);
  }
  co_return co_await ctx.receive<std::string>("jobs");
});

// Waits for a job while it is busy with something else.
const auto two_handed = romancy::workflow("two_handed", [](Context& ctx, std::string what) -> Task<std::string> {
  ctx.subscribe("jobs", romancy::ChannelMode::competing);
  auto busy = ctx.start(ctx.run(hold, what));
  const std::string job = co_await ctx.receive<std::string>("jobs");
  co_await ctx.run(mark, job);
  co_await busy;
  co_return job;
});

// Does a little of everything, and waits to be told to go on, or to be cancelled.
const auto tour = romancy::workflow("tour", [](Context& ctx, int generation) -> Task<std::string> {
  const std::string what = "tour " + std::to_string(generation);
  ctx.subscribe("news");
  ctx.join("crew");
  ctx.side_effect("dice", [] { return 4; });
  co_await ctx.run(mark, what);
  ctx.compensate_with(undo, what);
  const int one = 1;
  co_await ctx.run(flaky, one);
  co_await ctx.receive_for<Json>("nothing", 10ms);
  co_await ctx.sleep(10ms);
  ctx.publish("elsewhere", 1);
  ctx.send_event("tour.made", "test", 1);
  ctx.leave("crew");
  co_await ctx.receive<Json>("go on");
  if (generation == 0) {
    ctx.forget_compensations();
    ctx.recur(1);
  }
  co_return "done";
});

struct Throwing final : romancy::test::NotingHooks {
  using NotingHooks::NotingHooks;
  void side_effect(const Moment& at) override {
    NotingHooks::side_effect(at);
    throw std::runtime_error("hooks may throw");
  }
};

}  // namespace

int main(int argc, char** argv) {
  return romancy::run_worker(argc, argv,
                             {echo, steps, naps, parcel, mailbox, two_channels, listening, patient, once, holder, retrying,
                              saga, changing, killer, later_killer, two_channels_many, tour, consumer, changing_consumer, two_handed, reporter},
                             {mark, pack, hold, flaky, undo, die},
                             romancy::test::noting_hooks<Throwing>("ROMANCY_TEST_HOOKS"));
}
