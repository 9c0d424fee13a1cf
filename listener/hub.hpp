// Hub: hands what the listener hears to the processes of this host, over a Unix socket.
//
// The caller gives the listening socket, and tells the hub when PostgreSQL is heard (live, resync) and what it says
// (notification). Who may subscribe: our own uid, root, and members of one group if it is set. Group sharing is in routes.hpp, the wire in hub_wire.hpp,
// docs/hub-protocol.md is the page for those who write a subscriber.
// Promise: a subscriber is told the state and a resync before its first wake, and a resync after every gap.
// Promise: no subscriber can hold up the hub or another subscriber; whoever speaks nonsense is hung up on alone.
// Promise: when a subscriber that named a session hangs up, the timers are told.
// Promise: when a member of a group leaves, or is hung up on because it reads nothing, within `hints_matter` of its last
//          wake, the others of its group are told to look: what it was told may be lost with it. At most once a
//          `departures_apart` a group, however fast its members come and go; one that comes too early waits.
// No promise: that every hint arrives: one resync may stand for any number of them.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/io/alarm.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/loop.hpp"
#include "common/proc/board.hpp"
#include "common/proc/hub_wire.hpp"
#include "listener/routes.hpp"
#include "listener/subscriber.hpp"

namespace romancy::listener {

struct HubOptions {
  int max_subscribers = 64;  // connections, welcomed or not
  Patience patience;
  std::optional<gid_t> group = std::nullopt;  // whose members may subscribe too
  std::chrono::milliseconds hints_matter{36'000};  // later everybody's own poll has found what the hint was about
  std::chrono::milliseconds departures_apart{1'000};
};

class Hub {
 public:
  using Clock = std::chrono::steady_clock;
  Hub(io::Loop& loop, UniqueFd listening, HubOptions options, proc::Slot slot);
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  void live(bool now);               // told to everybody when it changes
  void resync(proc::ResyncWhy why);  // to everybody
  // What PostgreSQL said on the channel of this kind, unverified.
  void notification(std::string_view kind, std::string_view payload);
  [[nodiscard]] std::size_t subscribers() const;  // welcomed

 private:
  void accept(UniqueFd connected, io::Peer peer);
  void greet(MemberId id, std::string_view line);
  void ended(MemberId id, Ending ending, std::string_view why);
  void departed(const Subscriber& subscriber);
  void tell_departures();
  void bury();
  void bad(std::string_view kind, std::string_view why);
  void count();

  io::Loop& loop_;
  HubOptions options_;
  proc::Slot slot_;
  bool live_ = false;
  std::uint64_t bad_ = 0;
  std::uint64_t hung_up_ = 0;
  MemberId next_id_ = 1;
  Routes routes_;
  std::map<MemberId, std::unique_ptr<Subscriber>> subscribers_;
  std::vector<MemberId> dead_;  // ended, not destroyed yet: they may stand below us on the stack
  io::Alarm burial_;
  struct Departures {
    Clock::time_point told;  // the group, last
    bool wanted = false;     // once more, when departures_apart is over
  };
  std::map<std::string, Departures> departures_;  // of groups told less than departures_apart ago
  io::Alarm departures_due_;
  io::UnixServer server_;
};

}  // namespace romancy::listener
