// Hub: hands what the listener hears to the processes of this host, over a Unix socket.
//
// The caller gives the listening socket, and tells the hub when PostgreSQL is heard (live, resync) and what it says
// (notification). Who may subscribe: our own uid and root. Group sharing is in routes.hpp, the wire in hub_wire.hpp,
// docs/hub-protocol.md is the page for those who write a subscriber.
// Promise: a subscriber is told the state and a resync before its first wake, and a resync after every gap.
// Promise: no subscriber can hold up the hub or another subscriber; whoever speaks nonsense is hung up on alone.
// Promise: when a subscriber that named a session hangs up, the timers are told.
// No promise: that every hint arrives: one resync may stand for any number of them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
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
};

class Hub {
 public:
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
  void ended(MemberId id, std::string_view why, bool ours);
  void bury();
  void bad(std::string_view kind, std::string_view why);
  void count();

  io::Loop& loop_;
  HubOptions options_;
  proc::Slot slot_;
  bool live_ = false;
  std::uint64_t bad_ = 0;
  MemberId next_id_ = 1;
  Routes routes_;
  std::map<MemberId, std::unique_ptr<Subscriber>> subscribers_;
  std::vector<MemberId> dead_;  // ended, not destroyed yet: they may stand below us on the stack
  io::Alarm burial_;
  io::UnixServer server_;
};

}  // namespace romancy::listener
