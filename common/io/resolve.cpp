#include "common/io/resolve.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>

namespace romancy::io {
namespace {

std::atomic<int> lookups{0};

struct Freed {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

}  // namespace

Result<Addresses> resolve_now(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (failed != 0) return try_again("look up " + name + ": " + ::gai_strerror(failed));
  const std::unique_ptr<addrinfo, Freed> list(found);
  Addresses addresses;
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (std::find(addresses.begin(), addresses.end(), text) == addresses.end()) addresses.emplace_back(text);
  }
  if (addresses.empty()) return try_again("look up " + name + ": no address");
  return addresses;
}

struct Resolve::State : std::enable_shared_from_this<Resolve::State> {
  std::mutex mutex;
  Loop* loop;  // under the mutex; null: nobody waits any more, and the loop may be gone
  Done done;   // of the loop's thread

  State(Loop& on, Done call) : loop(&on), done(std::move(call)) {}

  // On any thread.
  void answer(Result<Addresses> addresses) {
    const std::lock_guard lock(mutex);
    if (loop == nullptr) return;
    loop->post([self = shared_from_this(), result = std::move(addresses)] {
      if (self->loop == nullptr) return;  // this thread alone sets it
      self->loop = nullptr;
      self->done(result);
    });
  }
};

Resolve::Resolve(Loop& loop, std::string name, Done done)
    : state_(std::make_shared<State>(loop, std::move(done))) {
  if (lookups.fetch_add(1) >= kMostLookups) {
    lookups.fetch_sub(1);
    state_->answer(try_again("look up " + name + ": " + std::to_string(kMostLookups) +
                             " look-ups are not answered yet"));
    return;
  }
  try {
    std::thread([state = state_, name] {
      auto addresses = resolve_now(name);
      lookups.fetch_sub(1);
      state->answer(std::move(addresses));
    }).detach();
  } catch (const std::system_error& error) {  // no thread can be made now
    lookups.fetch_sub(1);
    state_->answer(try_again("look up " + name + ": " + error.what()));
  }
}

Resolve::~Resolve() {
  const std::lock_guard lock(state_->mutex);
  state_->loop = nullptr;
}

}  // namespace romancy::io
