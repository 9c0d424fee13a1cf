// Messages: direct, broadcast, early, late, in order.
#include "steps.hpp"

using namespace std::chrono_literals;
using romancy::Context;
using romancy::Json;
using romancy::Message;
using romancy::Task;

namespace {

struct Note {
  std::string text;
  int stars = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Note, text, stars)

// Receives so many from "mail", in order.
const auto mailbox = romancy::workflow("mailbox", [](Context& ctx, int count) -> Task<Json> {
  Json all = Json::array();
  for (int i = 0; i < count; ++i) all.push_back(co_await ctx.receive<Json>("mail"));
  co_return all;
});

// What it receives from each of the channels it is given, one after the other.
const auto channels = romancy::workflow("channels", [](Context& ctx, std::vector<std::string> names) -> Task<Json> {
  Json all = Json::array();
  for (const std::string& name : names) all.push_back(co_await ctx.receive<Json>(name));
  co_return all;
});

const auto typed = romancy::workflow("typed", [](Context& ctx) -> Task<std::string> {
  const Note note = co_await ctx.receive<Note>("note");
  co_return note.text + std::string(static_cast<std::size_t>(note.stars), '*');
});

const auto picky = romancy::workflow("picky", [](Context& ctx) -> Task<std::string> {
  std::string said;
  try {
    co_await ctx.receive<Note>("note");
  } catch (const romancy::BadData& e) {
    said = e.what();
  }
  const Note next = co_await ctx.receive<Note>("note");
  co_return said + " | " + next.text;
});

const auto with_metadata = romancy::workflow("with_metadata", [](Context& ctx) -> Task<Json> {
  const Message<Json> message = co_await ctx.receive_message<Json>("mail");
  co_return Json{{"data", message.data}, {"metadata", message.metadata}, {"id", message.id}};
});

const auto patient = romancy::workflow("patient", [](Context& ctx, int within_ms) -> Task<Json> {
  try {
    co_return co_await ctx.receive<Json>("mail", {.within = std::chrono::milliseconds(within_ms)});
  } catch (const romancy::TimedOut& e) {
    co_return Json{{"timed out", e.channel()}};
  }
});

const auto impatient = romancy::workflow("impatient", [](Context& ctx) -> Task<Json> {
  co_return co_await ctx.receive<Json>("mail", {.within = 1ms});
});

// Times out, and then waits again: a message that came late is not lost.
const auto second_chance = romancy::workflow("second_chance", [](Context& ctx) -> Task<Json> {
  const auto first = co_await ctx.receive_for<Json>("mail", 1ms);
  const Json second = co_await ctx.receive<Json>("mail");
  co_return Json{first.has_value(), second};
});

// Takes what there is, until nothing comes for a while.
const auto drain = romancy::workflow("drain", [](Context& ctx, int within_ms) -> Task<Json> {
  Json all = Json::array();
  for (;;) {
    const auto next = co_await ctx.receive_for<Json>("mail", std::chrono::milliseconds(within_ms));
    if (!next) co_return all;
    all.push_back(*next);
  }
});

struct Subscription {
  std::string channel;
  int messages = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Subscription, channel, messages)

const auto subscriber = romancy::workflow("subscriber", [](Context& ctx, Subscription wanted) -> Task<Json> {
  ctx.subscribe(wanted.channel);
  Json all = Json::array();
  for (int i = 0; i < wanted.messages; ++i) all.push_back(co_await ctx.receive<Json>(wanted.channel));
  co_return all;
});

const auto subscriber_ids = romancy::workflow("subscriber_ids", [](Context& ctx, std::string channel) -> Task<std::int64_t> {
  ctx.subscribe(channel);
  const Message<Json> message = co_await ctx.receive_message<Json>(channel);
  co_return message.id;
});

// Subscribes, waits, unsubscribes, waits.
const auto leaver = romancy::workflow("leaver", [](Context& ctx, std::string channel) -> Task<Json> {
  ctx.subscribe(channel);
  const Json first = co_await ctx.receive<Json>("go on");
  ctx.unsubscribe(channel);
  const Json second = co_await ctx.receive<Json>("go on");
  co_return second;
});

// Never subscribes, but receives on the channel: only what is sent to it.
const auto bystander = romancy::workflow("bystander", [](Context& ctx, std::string channel) -> Task<Json> {
  co_return co_await ctx.receive<Json>(channel);
});

struct Letter {
  std::string to, channel;
  int times = 1;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Letter, to, channel, times)

// Sends, then is suspended often: no replay may send again.
const auto sender = romancy::workflow("sender", [](Context& ctx, Letter letter) -> Task<int> {
  for (int i = 0; i < letter.times; ++i) {
    if (letter.to.empty()) {
      ctx.publish(letter.channel, i);
    } else {
      ctx.publish(letter.channel, i, {.to = letter.to});
    }
    co_await ctx.sleep(1ms);
  }
  for (int i = 0; i < 3; ++i) co_await ctx.sleep(1ms);
  co_return letter.times;
});

const auto self_sender = romancy::workflow("self_sender", [](Context& ctx) -> Task<std::string> {
  ctx.publish("mail", std::string("to me"), {.to = ctx.instance_id()});
  co_return co_await ctx.receive<std::string>("mail");
});

const auto sends_metadata = romancy::workflow("sends_metadata", [](Context& ctx, std::string to) -> Task<> {
  ctx.publish("mail", 5, {.to = to, .metadata = romancy::Json{{"from", "me"}}});
  co_return;
});

const auto sends_to_nobody = romancy::workflow("sends_to_nobody", [](Context& ctx, std::string to) -> Task<std::string> {
  ctx.publish("mail", 1, {.to = to});
  co_await ctx.sleep(1ms);
  co_return "went on";
});

struct Game {
  std::string other;
  int rounds = 0;
  bool serves = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Game, other, rounds, serves)

const auto ping_pong = romancy::workflow("ping_pong", [](Context& ctx, Game game) -> Task<int> {
  int last = 0;
  if (game.serves) ctx.publish("ball", 1, {.to = game.other});
  for (int i = 0; i < game.rounds; ++i) {
    last = co_await ctx.receive<int>("ball");
    if (!game.serves || i + 1 < game.rounds) ctx.publish("ball", last + 1, {.to = game.other});
  }
  co_return last;
});

// Asks by an activity after it has subscribed: the answer cannot come too early.
const auto asker = romancy::workflow("asker", [](Context& ctx, std::string channel) -> Task<Json> {
  ctx.subscribe(channel);
  const std::string what = "asked";
  co_await ctx.run(mark, what);
  co_return co_await ctx.receive<Json>(channel);
});

// Is busy while its mail arrives.
const auto busy_mailbox = romancy::workflow("busy_mailbox", [](Context& ctx, std::string gate) -> Task<Json> {
  co_await ctx.run(hold, gate);
  Json all = Json::array();
  for (int i = 0; i < 3; ++i) all.push_back(co_await ctx.receive<Json>("mail"));
  co_return all;
});

const auto bad_publisher = romancy::workflow("bad_publisher", [](Context& ctx) -> Task<> {
  ctx.publish("mail", std::string("caf\xe9"));
  co_return;
});

}  // namespace

void add_messages(Program& program) {
  program.workflows.insert(program.workflows.end(),
                           {mailbox, channels, typed, picky, with_metadata, patient, impatient, second_chance, drain, subscriber,
                            subscriber_ids, leaver, bystander, sender, self_sender, sends_metadata, sends_to_nobody, ping_pong,
                            asker, busy_mailbox, bad_publisher});
}
