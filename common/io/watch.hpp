// Watch: tells when a file descriptor is readable or writable. Level-triggered. Does not own the descriptor;
// destroy the Watch (or stop it) before the descriptor is closed or changes its meaning.
//
// An error on the descriptor is reported as readable and writable: the owner then reads and sees it
// (libuv 1.44 reports POLLERR as UV_EBADF with no events: a callback that looks only at events never learns).
#pragma once
#include <functional>
#include <memory>

#include "common/io/loop.hpp"

namespace romancy::io {

class Watch {
 public:
  using OnEvent = std::function<void(bool readable, bool writable)>;
  Watch(Loop& loop, int fd, OnEvent on_event);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void want(bool readable, bool writable);  // both false: quiet

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::io
