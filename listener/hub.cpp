#include "listener/hub.hpp"

#include <unistd.h>

#include <bit>
#include <chrono>
#include <string>
#include <utility>

#include "common/base/log.hpp"
#include "listener/hint.hpp"

namespace romancy::listener {

Hub::Hub(io::Loop& loop, UniqueFd listening, HubOptions options, proc::Slot slot)
    : loop_(loop),
      options_(options),
      slot_(slot),
      burial_(loop, [this] { bury(); }),
      server_(loop, std::move(listening),
              [this](UniqueFd connected, io::Peer peer) { accept(std::move(connected), peer); }) {
  count();
}

void Hub::live(bool now) {
  if (std::exchange(live_, now) == now) return;
  for (auto& [id, subscriber] : subscribers_) subscriber->state(now);
}

void Hub::resync(proc::ResyncWhy why) {
  for (auto& [id, subscriber] : subscribers_) subscriber->resync(why);
}

void Hub::notification(std::string_view kind, std::string_view payload) {
  slot_.add(proc::Counter::notifications);
  const auto hint = read_hint(payload);
  if (!hint) return bad(kind, hint.error().text);
  const std::string line = proc::encode_wake(kind, hint->payload);
  routes_.targets(kind, hint->instance_id, [this, &line](MemberId id) { subscribers_.at(id)->wake(line); });
}

std::size_t Hub::subscribers() const {
  std::size_t number = 0;
  for (const auto& [id, subscriber] : subscribers_) number += subscriber->welcomed() ? 1 : 0;
  return number;
}

void Hub::accept(UniqueFd connected, io::Peer peer) {
  const MemberId id = next_id_++;
  auto& subscriber = subscribers_[id];
  subscriber = std::make_unique<Subscriber>(
      loop_, std::move(connected), peer, options_.patience,
      Subscriber::Handlers{.on_hello = [this, id](std::string_view line) { greet(id, line); },
                           .on_end = [this, id](std::string_view why, bool ours) { ended(id, why, ours); },
                           .on_overflow = [this] { slot_.add(proc::Counter::hub_overflows); }});
  std::string why;
  if (peer.uid != ::geteuid() && peer.uid != 0) {
    why = "uid " + std::to_string(peer.uid) + " may not subscribe";
  } else if (subscribers_.size() - dead_.size() > static_cast<std::size_t>(options_.max_subscribers)) {
    why = "too many subscribers, at most " + std::to_string(options_.max_subscribers);
  }
  if (!why.empty()) subscriber->refuse(why);
}

void Hub::greet(MemberId id, std::string_view line) {
  Subscriber& subscriber = *subscribers_.at(id);
  auto hello = proc::parse_hello(line);
  if (!hello) return subscriber.refuse(hello.error().text);
  routes_.join({.id = id,
                .key = static_cast<std::uint64_t>(subscriber.peer().pid),
                .alone = hello->role == proc::kRoleObserver,
                .group = hello->group,
                .channels = hello->channels});
  log::debug("subscriber joined",
             {{"pid", subscriber.peer().pid}, {"role", hello->role}, {"group", hello->group}});
  subscriber.welcome(std::move(*hello), live_);
  count();
}

void Hub::ended(MemberId id, std::string_view why, bool ours) {
  const Subscriber& subscriber = *subscribers_.at(id);
  log::write(ours ? log::Level::warn : log::Level::debug, ours ? "subscriber hung up on" : "subscriber left",
             {{"pid", subscriber.peer().pid}, {"role", subscriber.subscription().role}, {"why", why}});
  dead_.push_back(id);
  burial_.set_in(std::chrono::nanoseconds(0));
}

// On a turn of its own, so that nobody is destroyed while it, or a loop over everybody, is running.
void Hub::bury() {
  for (const MemberId id : std::exchange(dead_, {})) {
    const auto node = subscribers_.extract(id);
    routes_.leave(id);
    const auto session = node.mapped()->subscription().session;
    if (!session) continue;
    for (auto& [other, subscriber] : subscribers_) {
      if (subscriber->subscription().role == proc::kRoleTimer) subscriber->gone(*session);
    }
  }
  count();
}

void Hub::bad(std::string_view kind, std::string_view why) {
  slot_.add(proc::Counter::notifications_bad);
  // Whoever may connect can send these: the log must not grow with them.
  if (std::has_single_bit(++bad_)) {
    log::warn("notification dropped", {{"channel", kind}, {"why", why}, {"dropped_so_far", bad_}});
  }
}

void Hub::count() { slot_.set(proc::Counter::subscribers, subscribers()); }

}  // namespace romancy::listener
