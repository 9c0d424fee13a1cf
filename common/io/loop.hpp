// Loop: one event loop a process; everything but blocking activities runs on it.
//
// The only door to libuv is common/io: other code sees Loop, Alarm, Watch, Signals, Resolve, LineStream and
// UnixServer.
// Objects of this folder belong to the loop's thread; only post() may be called from another.
#pragma once
#include <functional>
#include <memory>

struct uv_loop_s;

namespace romancy::io {

class Loop {
 public:
  Loop();
  ~Loop();  // closes what is still open and runs the close callbacks; aborts if a handle outlives its owner
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). Ignores SIGPIPE for the process (libuv writes without MSG_NOSIGNAL).
  void run();
  void stop();
  // Runs `fn` on the loop's thread, soon and in order. Thread-safe.
  void post(std::function<void()> fn);
  // Runs `fn` once at the end of this turn of the loop: the place for "record now, act once".
  void at_turn_end(std::function<void()> fn);

  [[nodiscard]] uv_loop_s* raw();  // for common/io and common/pg only

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace romancy::io
