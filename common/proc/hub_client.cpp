#include "common/proc/hub_client.hpp"

#include <utility>

#include "common/base/backoff.hpp"
#include "common/base/log.hpp"
#include "common/io/alarm.hpp"
#include "common/io/line_stream.hpp"
#include "common/proc/hub_wire.hpp"

namespace romancy::proc {
namespace {
using namespace std::chrono_literals;
}

struct HubClient::State : std::enable_shared_from_this<State> {
  // from      event           to        effect
  // Stopped   start()         Waiting   connect on the next turn
  // Waiting   connected       Greeting  send hello
  // Waiting   nobody listens  Waiting   wait longer
  // Greeting  welcome         Subscribed  on_live
  // Greeting  refused, closed Waiting   wait longer
  // Subscribed closed         Waiting   on_live(false), wait
  // any       stop()          Stopped   close; on_live(false) is not said: who stops does not poll either
  enum class Phase { Stopped, Waiting, Greeting, Subscribed };

  State(io::Loop& on, std::string path, Subscription subscription, Handlers to)
      : loop(on),
        socket_path(std::move(path)),
        what(std::move(subscription)),
        handlers(std::move(to)),
        retry(on, [this] {
          const auto self = shared_from_this();  // on_live may destroy the HubClient
          connect();
        }) {}

  void connect() {
    auto fd = io::connect_unix(socket_path);
    if (!fd) return wait(fd.error().text);
    phase = Phase::Greeting;
    resynced = false;
    // Nothing of a former stream arrives here: a destroyed LineStream calls back no more.
    const std::weak_ptr<State> weak = weak_from_this();
    stream = std::make_unique<io::LineStream>(
        loop, std::move(*fd), io::LineCaps{.max_line = kHubMaxLine},
        io::LineStream::Handlers{.on_line = [weak](std::string_view line) {
                                   if (const auto self = weak.lock()) self->take(line);
                                 },
                                 .on_close = [weak](std::string_view why) {
                                   if (const auto self = weak.lock()) self->lost(why);
                                 },
                                 .on_drained = {}});
    if (!stream->send(encode_hello(what))) lost("hello could not be sent");
  }

  // Everything after a handler has returned must allow for stop() or destruction in it: phase tells.
  void take(std::string_view text) {
    if (phase != Phase::Greeting && phase != Phase::Subscribed) return;
    const auto line = parse_hub_line(text);
    if (!line) return lost(line.error().text);
    const bool welcomed = phase == Phase::Subscribed;
    switch (line->word) {
      case HubWord::welcome:
        if (welcomed) return lost("welcomed twice");
        phase = Phase::Subscribed;
        backoff.reset();
        refusal.clear();
        log::info("hub connection established", {{"group", what.group}, {"live", line->live}});
        return say_live(line->live);
      case HubWord::state:
        if (!welcomed) return lost("state before welcome");
        return say_live(line->live);
      case HubWord::resync:
        if (!welcomed) return lost("resync before welcome");
        resynced = true;
        if (handlers.on_resync) handlers.on_resync(line->text);
        return;
      case HubWord::wake:
        if (!resynced) return lost("wake before resync");
        if (handlers.on_wake) handlers.on_wake(line->text, line->payload);
        return;
      case HubWord::gone:
        if (!welcomed) return lost("gone before welcome");
        if (handlers.on_gone) handlers.on_gone(line->session);
        return;
      case HubWord::refused:
        if (line->text != refusal) log::warn("hub refused this process", {{"why", line->text}});
        refusal = line->text;
        return lost("refused");
      case HubWord::hello: break;  // never made by parse_hub_line
    }
  }

  void lost(std::string_view why) {
    if (phase == Phase::Stopped || phase == Phase::Waiting) return;
    const auto former = std::move(stream);  // `why` may live in it
    if (phase == Phase::Subscribed) log::info("hub connection lost", {{"why", why}});
    wait(why);
  }

  void wait(std::string_view why) {
    phase = Phase::Waiting;
    const auto delay = backoff.next();
    log::debug("hub away", {{"why", why}, {"retry_in_ms", delay.count()}});
    retry.set_in(delay);
    say_live(false);
  }

  void say_live(bool now) {
    if (live == now) return;
    live = now;
    if (handlers.on_live) handlers.on_live(now);
  }

  void leave() {
    phase = Phase::Stopped;
    live = false;
    retry.cancel();
    stream.reset();
  }

  io::Loop& loop;
  std::string socket_path;
  Subscription what;
  Handlers handlers;
  Phase phase = Phase::Stopped;
  bool live = false;
  bool resynced = false;  // on this subscription
  std::string refusal;    // the last one: said once, though it may come every few seconds
  Backoff backoff{50ms, 5s};
  std::unique_ptr<io::LineStream> stream;
  io::Alarm retry;
};

HubClient::HubClient(io::Loop& loop, std::string socket_path, Subscription what, Handlers handlers)
    : state_(std::make_shared<State>(loop, std::move(socket_path), std::move(what), std::move(handlers))) {}

HubClient::~HubClient() { state_->leave(); }

void HubClient::start() {
  if (state_->phase != State::Phase::Stopped) return;
  state_->phase = State::Phase::Waiting;
  state_->retry.set_in(0ms);
}

void HubClient::stop() { state_->leave(); }

bool HubClient::live() const { return state_->live; }

void HubClient::session(std::int64_t session) {
  State& state = *state_;
  if (state.what.session == session) return;
  state.what.session = session;
  if (state.phase != State::Phase::Greeting && state.phase != State::Phase::Subscribed) return;
  // live() stays as it is until the new welcome: the gap is one turn long, and the resync covers it.
  state.stream.reset();
  state.phase = State::Phase::Waiting;
  state.retry.set_in(0ms);
}

}  // namespace romancy::proc
