// Resolve: the addresses of a host name, looked up beside the loop.
//
// A resolver whose nameserver is away answers after many seconds: on the loop's thread it would stop everything else.
// Not uv_getaddrinfo: its four threads are joined when the process ends, so that a resolver that hangs would keep a
// process that was asked to stop; and four names that hang would stop every other use of libuv's pool. Each look-up here
// has a thread of its own that nobody waits for longer than he wants to, at most kMostLookups of them for the loop and as
// many for those who may wait: getaddrinfo cannot be given up, so a thread is left to it, and it ends when that answers.
//
// `done` comes exactly once, on the loop, never from within the constructor, unless the Resolve is destroyed before; it
// may destroy the Resolve. Addresses are numeric, in the order in which they should be tried.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/io/loop.hpp"

namespace romancy::io {

inline constexpr int kMostLookups = 8;  // under way in this process at once; the loop's next one is refused, to be tried again

using Addresses = std::vector<std::string>;  // not empty

class Resolve {
 public:
  using Done = std::function<void(Result<Addresses>)>;
  Resolve(Loop& loop, const std::string& name, Done done);
  ~Resolve();
  Resolve(const Resolve&) = delete;
  Resolve& operator=(const Resolve&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// The same for those who may wait, but not for ever: on any thread but the loop's, at most so long, first for a place among
// the look-ups under way, then for the answer.
Result<Addresses> resolve_within(const std::string& name, std::chrono::milliseconds time);

}  // namespace romancy::io
