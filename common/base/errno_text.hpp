// errno_text: what an errno means, in words that last. Safe on any thread and between fork and exec, which strerror()
// does not promise.
#pragma once
#include <cstring>

namespace romancy {

[[nodiscard]] inline const char* errno_text(int error) noexcept {
  const char* text = ::strerrordesc_np(error);  // glibc 2.32
  return text != nullptr ? text : "unknown error";
}

}  // namespace romancy
