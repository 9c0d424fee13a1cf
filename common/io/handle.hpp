// Handle: owns one libuv handle of type H. Internal to common/io.
//
// libuv keeps using a handle's memory until its close callback has run, which is after uv_close() returned. So the
// memory is its own allocation, and dies in that callback; the owner may go at any time, also in a callback of the
// handle: after uv_close() libuv calls back no more.
#pragma once
#include <uv.h>

#include <memory>
#include <string_view>
#include <utility>

#include "common/base/check.hpp"

namespace romancy::io {

// libuv's answer to something that fails only when the machine is out of descriptors or memory, or the call is wrong.
inline void must(int answer, std::string_view what) {
  if (answer < 0) [[unlikely]] broken(what, uv_strerror(answer));
}

template <class H>
class Handle {
 public:
  Handle() : handle_(new H{}) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { close(); }

  [[nodiscard]] H* get() const { return handle_; }  // null after close()
  explicit operator bool() const { return handle_ != nullptr; }

  // Must have been initialised (uv_xyz_init) by now.
  void close() {
    if (H* handle = std::exchange(handle_, nullptr))
      uv_close(reinterpret_cast<uv_handle_t*>(handle),
               [](uv_handle_t* closed) { delete reinterpret_cast<H*>(closed); });
  }

 private:
  H* handle_;
};

}  // namespace romancy::io
