#include "listener/hub.hpp"

#include <unistd.h>

#include <bit>
#include <chrono>
#include <string>
#include <utility>

#include "common/base/log.hpp"
#include "listener/hint.hpp"

namespace romancy::listener {

using proc::Counter;

Hub::Hub(io::Loop& loop, UniqueFd listening, HubOptions options, proc::Slot slot)
    : loop_(loop),
      options_(options),
      slot_(slot),
      burial_(loop, [this] { bury(); }),
      departures_due_(loop, [this] { tell_departures(); }),
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
  slot_.add(Counter::notifications);
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
  const bool welcome = peer.uid == ::geteuid() || peer.uid == 0 ||
                       (options_.group && io::peer_in_group(connected.get(), peer, *options_.group));
  const MemberId id = next_id_++;
  auto& subscriber = subscribers_[id];
  subscriber = std::make_unique<Subscriber>(
      loop_, std::move(connected), peer, options_.patience,
      Subscriber::Handlers{.on_hello = [this, id](std::string_view line) { greet(id, line); },
                           .on_end = [this, id](Ending ending, std::string_view why) { ended(id, ending, why); },
                           .on_overflow = [this] { slot_.add(Counter::hub_overflows); }});
  if (!welcome) {
    slot_.add(Counter::hub_strangers);
    subscriber->refuse("uid " + std::to_string(peer.uid) + " may not subscribe");
  } else if (subscribers_.size() - dead_.size() > static_cast<std::size_t>(options_.max_subscribers)) {
    slot_.add(Counter::hub_crowded);
    subscriber->refuse("too many subscribers, at most " + std::to_string(options_.max_subscribers));
  }
}

void Hub::greet(MemberId id, std::string_view line) {
  Subscriber& subscriber = *subscribers_.at(id);
  auto hello = proc::parse_hello(line);
  if (!hello) {
    slot_.add(proc::is_other_version(line) ? Counter::hub_versions : Counter::hub_nonsense);
    return subscriber.refuse(hello.error().text);
  }
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

void Hub::ended(MemberId id, Ending ending, std::string_view why) {
  const Subscriber& subscriber = *subscribers_.at(id);
  if (ending == Ending::nonsense) slot_.add(Counter::hub_nonsense);
  if (ending == Ending::stalled) slot_.add(Counter::hub_stalled);
  const bool ours = ending != Ending::left;
  // Whoever may connect can make these happen: the log must not grow with them. To stall takes its time.
  const bool loud = ending == Ending::stalled || (ours && std::has_single_bit(++hung_up_));
  log::write(loud ? log::Level::warn : log::Level::debug, ours ? "subscriber hung up on" : "subscriber left",
             {{"pid", subscriber.peer().pid}, {"role", subscriber.subscription().role}, {"why", why}});
  dead_.push_back(id);
  burial_.set_in(std::chrono::nanoseconds(0));
}

// On a turn of its own, so that nobody is destroyed while it, or a loop over everybody, is running.
void Hub::bury() {
  for (const MemberId id : std::exchange(dead_, {})) {
    const auto node = subscribers_.extract(id);
    routes_.leave(id);
    departed(*node.mapped());
    const auto session = node.mapped()->subscription().session;
    if (!session) continue;
    for (auto& [other, subscriber] : subscribers_) {
      if (subscriber->subscription().role == proc::kRoleTimer) subscriber->gone(*session);
    }
  }
  count();
}

void Hub::departed(const Subscriber& subscriber) {
  const auto now = Clock::now();
  const auto& [role, group, channels, session] = subscriber.subscription();
  if (role == proc::kRoleObserver || !subscriber.last_wake() || now - *subscriber.last_wake() > options_.hints_matter) {
    return;
  }
  const auto known = departures_.try_emplace(group, Departures{.told = now - options_.departures_apart}).first;
  known->second.wanted = true;
  tell_departures();
}

void Hub::tell_departures() {
  const auto now = Clock::now();
  std::optional<Clock::time_point> next;
  for (auto it = departures_.begin(); it != departures_.end();) {
    auto& [group, departures] = *it;
    const auto due = departures.told + options_.departures_apart;
    if (due <= now && std::exchange(departures.wanted, false)) {
      departures.told = now;
      slot_.add(Counter::hub_departures);
      for (auto& [id, subscriber] : subscribers_) {
        const auto& other = subscriber->subscription();
        if (other.group == group && other.role != proc::kRoleObserver) subscriber->resync(proc::ResyncWhy::departure);
      }
    }
    const auto over = departures.told + options_.departures_apart;
    if (over <= now) {
      it = departures_.erase(it);
      continue;
    }
    if (!next || over < *next) next = over;
    ++it;
  }
  if (next) departures_due_.set_at(*next);
}

void Hub::bad(std::string_view kind, std::string_view why) {
  slot_.add(Counter::notifications_bad);
  // Whoever may connect can send these: the log must not grow with them.
  if (std::has_single_bit(++bad_)) {
    log::warn("notification dropped", {{"channel", kind}, {"why", why}, {"dropped_so_far", bad_}});
  }
}

void Hub::count() { slot_.set(Counter::subscribers, subscribers()); }

}  // namespace romancy::listener
