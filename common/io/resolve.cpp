#include "common/io/resolve.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

namespace romancy::io {
namespace {

struct Freed {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

// Waits as long as the resolver does.
Result<Addresses> look_up(const std::string& name) {
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

// How many look-ups are under way. Never destroyed: a thread that is left to a resolver may end after main().
class Places {
 public:
  bool take() { return take_until({}); }
  bool take_until(std::chrono::steady_clock::time_point when) {
    std::unique_lock lock(mutex_);
    if (!freed_.wait_until(lock, when, [this] { return taken_ < kMostLookups; })) return false;
    ++taken_;
    return true;
  }
  void give_back() {
    const std::lock_guard lock(mutex_);
    --taken_;
    freed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  int taken_ = 0;
};
// Two, so that threads that wait for a resolver do not take the loop's places.
Places& of_the_loop() {
  static auto* const places = new Places;
  return *places;
}
Places& of_the_others() {
  static auto* const places = new Places;
  return *places;
}

tl::unexpected<Error> no_place(const std::string& name) {
  return try_again("look up " + name + ": " + std::to_string(kMostLookups) + " look-ups are not answered yet");
}

// On a thread of its own, with a place that was taken for it; `then` is called there. False: no thread can be made now.
template <class Then>
Result<void> look_up_beside(const std::string& name, Places& places, Then then) {
  try {
    std::thread([name, &places, then = std::move(then)] {
      auto addresses = look_up(name);
      places.give_back();
      then(std::move(addresses));
    }).detach();
  } catch (const std::system_error& error) {
    places.give_back();
    return try_again("look up " + name + ": " + error.what());
  }
  return {};
}

}  // namespace

Result<Addresses> resolve_within(const std::string& name, std::chrono::milliseconds time) {
  struct Waiting {
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<Result<Addresses>> answer;
  };
  const auto until = std::chrono::steady_clock::now() + time;
  if (!of_the_others().take_until(until)) return no_place(name);
  const auto waiting = std::make_shared<Waiting>();  // the thread's too: it may outlast us
  const auto begun = look_up_beside(name, of_the_others(), [waiting](Result<Addresses> addresses) {
    const std::lock_guard lock(waiting->mutex);
    waiting->answer = std::move(addresses);
    waiting->answered.notify_one();
  });
  if (!begun) return tl::unexpected(begun.error());
  std::unique_lock lock(waiting->mutex);
  if (waiting->answered.wait_until(lock, until, [&] { return waiting->answer.has_value(); })) return *waiting->answer;
  return try_again(name + ": the name was not looked up within " + std::to_string(time.count()) + " ms");
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

Resolve::Resolve(Loop& loop, const std::string& name, Done done)
    : state_(std::make_shared<State>(loop, std::move(done))) {
  if (!of_the_loop().take()) {
    state_->answer(no_place(name));
    return;
  }
  const auto begun = look_up_beside(name, of_the_loop(), [state = state_](Result<Addresses> addresses) {
    state->answer(std::move(addresses));
  });
  if (!begun) state_->answer(tl::unexpected(begun.error()));
}

Resolve::~Resolve() {
  const std::lock_guard lock(state_->mutex);
  state_->loop = nullptr;
}

}  // namespace romancy::io
