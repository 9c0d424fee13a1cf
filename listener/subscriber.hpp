// Subscriber: one peer of the hub: its socket, what waits for it, and how long it may take.
//
// What it is told waits in an OutQueue until the turn's end and then goes to its stream in one piece. A slow one costs
// itself alone: what its socket does not take stays in the queue, which collapses. One that reads nothing for
// `stalled_after` although something lies there for it is hung up on, be it a single line in its socket: a process that is
// stopped must not keep the hints of its group. Nothing here waits.
// on_end comes exactly once, on the loop; after it nothing is called any more. The owner destroys it then, but not from
// within on_end.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "common/base/unique_fd.hpp"
#include "common/io/alarm.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/loop.hpp"
#include "common/proc/hub_client.hpp"
#include "common/proc/hub_wire.hpp"
#include "listener/out_queue.hpp"

namespace romancy::listener {

struct Patience {
  std::chrono::milliseconds hello_within{5'000};    // or it is hung up on
  std::chrono::milliseconds stalled_after{10'000};  // without reading, while something waits for it
};

enum class Ending {
  left,      // it hung up
  refused,   // by refuse()
  nonsense,  // no hello in time, a line too long, a word after its hello
  stalled,   // it did not read
};

class Subscriber {
 public:
  using Clock = std::chrono::steady_clock;
  struct Handlers {
    std::function<void(std::string_view line)> on_hello;  // its first line; welcome() or refuse() it
    std::function<void(Ending ending, std::string_view why)> on_end;
    std::function<void()> on_overflow;
  };
  Subscriber(io::Loop& loop, UniqueFd connected, io::Peer peer, Patience patience, Handlers handlers);
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;

  void welcome(proc::Subscription subscription, bool live);  // followed by a resync
  void refuse(std::string_view why);                         // says so and hangs up
  // What it is told; nothing unless it is welcomed.
  void state(bool live);
  void resync(proc::ResyncWhy why);
  void gone(std::int64_t session);
  void wake(std::string_view line);

  [[nodiscard]] bool welcomed() const { return stage_ == Stage::welcomed; }
  [[nodiscard]] const proc::Subscription& subscription() const { return subscription_; }  // empty until welcomed
  [[nodiscard]] const io::Peer& peer() const { return peer_; }
  // When it was given a wake last, whether it has read it or not.
  [[nodiscard]] std::optional<Clock::time_point> last_wake() const { return last_wake_; }

 private:
  enum class Stage { greeting, welcomed, ended };
  void take(std::string_view line);
  void end(Ending ending, std::string_view why);
  void say(std::string_view line);
  void flush_soon();
  void flush();
  void out_of_time();
  void watch_it_read();

  io::Loop& loop_;
  Stage stage_ = Stage::greeting;
  io::Peer peer_;
  Patience patience_;
  Handlers handlers_;
  proc::Subscription subscription_;
  OutQueue queue_;
  bool flush_asked_ = false;
  std::optional<Clock::time_point> last_wake_;
  // What was seen when we looked last: bytes not taken by the kernel, the kernel's own measure of what it holds.
  std::size_t queued_ = 0, unread_ = 0;
  Clock::time_point read_at_{};  // it was seen to have read, or nothing was there to be read
  io::LineStream stream_;
  io::Alarm alarm_;  // the hello is late; nothing was read for too long
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // what was left for the turn's end asks it first
};

}  // namespace romancy::listener
