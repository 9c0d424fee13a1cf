// Subscriber: one peer of the hub: its socket, what waits for it, and how long it may take.
//
// What it is told waits in an OutQueue until the turn's end and then goes to its stream in one piece. A slow one costs
// itself alone: what its socket does not take stays in the queue, which collapses; one that has not read a byte for
// `stalled_after` is hung up on. Nothing here waits.
// on_end comes exactly once, on the loop; after it nothing is called any more. The owner destroys it then, but not from
// within on_end.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
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
  std::chrono::milliseconds stalled_after{10'000};  // without reading a byte, while something waits for it
};

class Subscriber {
 public:
  struct Handlers {
    std::function<void(std::string_view line)> on_hello;  // its first line; welcome() or refuse() it
    std::function<void(std::string_view why, bool ours)> on_end;  // ours: we hung up
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

 private:
  enum class Stage { greeting, welcomed, ended };
  void take(std::string_view line);
  void end(std::string_view why, bool ours);
  void say(std::string_view line);
  void flush_soon();
  void flush();
  void out_of_time();
  [[nodiscard]] std::size_t read() const { return said_ - stream_.queued_bytes(); }

  io::Loop& loop_;
  Stage stage_ = Stage::greeting;
  io::Peer peer_;
  Patience patience_;
  Handlers handlers_;
  proc::Subscription subscription_;
  OutQueue queue_;
  bool flush_asked_ = false;
  std::size_t said_ = 0;           // bytes handed to the stream
  std::size_t read_at_alarm_ = 0;  // of these, taken by the kernel when the alarm was set
  io::LineStream stream_;
  io::Alarm alarm_;  // the hello is late; nothing was read for too long
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // what was left for the turn's end asks it first
};

}  // namespace romancy::listener
