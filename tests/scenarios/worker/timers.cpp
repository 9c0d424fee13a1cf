// Timers: sleeping, and what is the same in every replay.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

std::int64_t micros(std::chrono::system_clock::time_point moment) {
  return std::chrono::duration_cast<std::chrono::microseconds>(moment.time_since_epoch()).count();
}

const auto nap = romancy::workflow("nap", [](Context& ctx, int ms) -> Task<std::int64_t> {
  const auto before = ctx.now();
  co_await ctx.sleep(std::chrono::milliseconds(ms));
  co_return micros(ctx.now()) - micros(before);
});

const auto naps = romancy::workflow("naps", [](Context& ctx, std::vector<int> all_ms) -> Task<std::size_t> {
  for (const int ms : all_ms) {
    const std::string what = "nap " + std::to_string(ms);
    co_await ctx.run(mark, what);
    co_await ctx.sleep(std::chrono::milliseconds(ms));
  }
  co_return all_ms.size();
});

const auto nap_until = romancy::workflow("nap_until", [](Context& ctx, std::int64_t ms_from_now) -> Task<bool> {
  const auto moment = ctx.now() + std::chrono::milliseconds(ms_from_now);
  co_await ctx.sleep_until(moment);
  co_return ctx.now() >= moment;
});

// A moment that has passed takes an operation number all the same: what follows keeps its own in every replay.
const auto past_then_naps = romancy::workflow("past_then_naps", [](Context& ctx) -> Task<std::string> {
  std::string all;
  const std::string a = "a", b = "b";
  co_await ctx.sleep_until(std::chrono::system_clock::time_point(1s));
  all += co_await ctx.run(mark, a);
  co_await ctx.sleep(1ms);
  co_await ctx.sleep_until(std::chrono::system_clock::time_point(2s));
  all += co_await ctx.run(mark, b);
  co_await ctx.sleep(1ms);
  co_return all;
});

const auto too_long = romancy::workflow("too_long", [](Context& ctx) -> Task<> { co_await ctx.sleep(std::chrono::hours(24 * 366 * 1100)); });

const auto same_every_time = romancy::workflow("same_every_time", [](Context& ctx, int naps_after) -> Task<Json> {
  Json all = Json::array();
  for (int i = 0; i < 2; ++i) {
    all.push_back(ctx.uuid());
    all.push_back(ctx.random());
    all.push_back(micros(ctx.now()));
  }
  // The first run's answers are recorded by an activity; every replay must come to the same ones.
  const std::string seen = all.dump();
  const std::string recorded = co_await ctx.run(mark, seen);
  for (int i = 0; i < naps_after; ++i) co_await ctx.sleep(1ms);
  co_return Json{{"now", all.dump()}, {"then", recorded}};
});

const auto about_me = romancy::workflow("about_me", [](Context& ctx) -> Task<std::string> {
  co_await ctx.sleep(1ms);
  co_return ctx.instance_id() + " " + ctx.workflow_name();
});

const auto hour = romancy::workflow("hour", [](Context& ctx, std::string what) -> Task<> {
  co_await ctx.sleep(1h);
  co_await ctx.run(mark, what);
});

// Reminds every so often until somebody answers.
const auto reminder = romancy::workflow("reminder", [](Context& ctx, int every_ms) -> Task<int> {
  int reminded = 0;
  for (;;) {
    const auto answer = co_await ctx.receive_for<Json>("answer", std::chrono::milliseconds(every_ms));
    if (answer) co_return reminded;
    const std::string what = "remind";
    co_await ctx.run(mark, what);
    ++reminded;
  }
});

}  // namespace

void add_timers(Program& program) {
  program.workflows.insert(program.workflows.end(),
                           {nap, naps, nap_until, past_then_naps, too_long, same_every_time, about_me, hour, reminder});
}
