// Channels: competing consumers, groups, events by type, binary payloads.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Bytes;
using romancy::ChannelMode;
using romancy::Context;
using romancy::Json;
using romancy::Task;

namespace {

// Takes jobs of a competing channel until one says stop.
const auto consumer = romancy::workflow("consumer", [](Context& ctx, std::string channel) -> Task<Json> {
  ctx.subscribe(channel, ChannelMode::competing);
  Json done = Json::array();
  for (;;) {
    const Json job = co_await ctx.receive<Json>(channel);
    if (job == "stop") co_return done;
    const std::string what = "job " + job.dump();
    co_await ctx.run(mark, what);
    done.push_back(job);
  }
});

const auto impatient_consumer = romancy::workflow("impatient_consumer", [](Context& ctx, std::string channel) -> Task<Json> {
  ctx.subscribe(channel, ChannelMode::competing);
  const auto job = co_await ctx.receive_for<Json>(channel, 20ms);
  co_return job ? *job : Json("nothing");
});

struct Mode {
  std::string channel;
  bool competing = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Mode, channel, competing)
const auto subscribes_as = romancy::workflow("subscribes_as", [](Context& ctx, Mode mode) -> Task<std::string> {
  ctx.subscribe(mode.channel, mode.competing ? ChannelMode::competing : ChannelMode::broadcast);
  std::string got;
  try {
    got = (co_await ctx.receive<Json>(mode.channel)).dump();
  } catch (const romancy::ChannelModeConflict& e) {
    got = "conflict on " + e.channel();
  }
  co_return got;
});

const auto producer = romancy::workflow("producer", [](Context& ctx, Mode to) -> Task<> {
  for (int i = 0; i < 5; ++i) {
    ctx.publish(to.channel, i);
    co_await ctx.sleep(1ms);
  }
});

const auto awaits_event = romancy::workflow("awaits_event", [](Context& ctx, std::string type) -> Task<Json> {
  const auto event = co_await ctx.wait_event<Json>(type);
  co_return event.data;
});
const auto awaits_event_briefly = romancy::workflow("awaits_event_briefly", [](Context& ctx, std::string type) -> Task<Json> {
  const auto event = co_await ctx.wait_event<Json>(type, {.within = 5ms});
  co_return event.data;
});

const auto member = romancy::workflow("member", [](Context& ctx, std::string group) -> Task<Json> {
  ctx.join(group);
  const Json first = co_await ctx.receive<Json>("all hands");
  ctx.leave(group);
  const Json second = co_await ctx.receive<Json>("bye");
  co_return Json{first, second};
});
const auto speaks_to_group = romancy::workflow("speaks_to_group", [](Context& ctx, std::string group) -> Task<> {
  ctx.publish("all hands", 7, {.to_group = group});
  co_return;
});

const auto turns_bytes = romancy::workflow("turns_bytes", [](Context& ctx, Bytes given) -> Task<Bytes> {
  const Bytes more = co_await ctx.receive<Bytes>("bytes");
  const std::string all = given.text() + more.text();
  co_return Bytes(std::string(all.rbegin(), all.rend()));
});

// Who is in the group: when it has joined, when it is told to look again, when it has left.
const auto census = romancy::workflow("census", [](Context& ctx, std::string group) -> Task<Json> {
  Json counted = Json::array();
  ctx.join(group);
  const auto first = co_await ctx.members(group);
  counted.push_back(first);
  co_await ctx.receive<Json>("again");
  const auto second = co_await ctx.members(group);
  counted.push_back(second);
  ctx.leave(group);
  const auto third = co_await ctx.members(group);
  counted.push_back(third);
  co_await ctx.sleep(1ms);  // and all of it must replay
  co_return counted;
});

// Bytes from one workflow to another, and into an event.
const auto sends_bytes = romancy::workflow("sends_bytes", [](Context& ctx, std::string to) -> Task<> {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  ctx.publish("bytes", Bytes(all), {.to = to});
  ctx.send_event("bytes", "scenario/" + ctx.instance_id(), Bytes(all));
  co_return;
});
const auto back_to_front = romancy::activity("back_to_front", [](romancy::Attempt&, Bytes given) {
  const std::string all = given.text();
  return Bytes(std::string(all.rbegin(), all.rend()));
});
const auto bytes_through_activity = romancy::workflow("bytes_through_activity", [](Context& ctx, Bytes given) -> Task<Bytes> {
  const Bytes back = co_await ctx.run(back_to_front, given);
  co_await ctx.sleep(1ms);
  co_return back;
});

}  // namespace

void add_channels(Program& program) {
  program.workflows.insert(program.workflows.end(), {consumer, impatient_consumer, subscribes_as, producer, awaits_event,
                                                     awaits_event_briefly, member, speaks_to_group, turns_bytes, census, sends_bytes, bytes_through_activity});
  program.activities.push_back(back_to_front);
}
