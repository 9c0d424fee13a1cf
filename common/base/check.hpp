// check: the end of the road for a bug. Says what is broken, on one log line, and aborts: the supervisor starts the
// process again, and the core file shows where. For invariants of ours, never for what a user or the world did.
#pragma once
#include <string_view>

namespace romancy {

[[noreturn]] void broken(std::string_view what, std::string_view detail = {});

// check(holds, "what must hold"): cheap enough to stay on in production.
inline void check(bool holds, std::string_view what, std::string_view detail = {}) {
  if (!holds) [[unlikely]] broken(what, detail);
}

}  // namespace romancy
