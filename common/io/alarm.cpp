#include "common/io/alarm.hpp"

#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "common/base/check.hpp"
#include "common/base/errno_text.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/handle.hpp"
#include "common/io/watch.hpp"

namespace romancy::io {
namespace {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC in libstdc++, the clock of the timerfd

// A timerfd must be read once it is due, or it stays readable.
bool take_expiry(int fd) {
  std::uint64_t times = 0;
  const ssize_t got = ::read(fd, &times, sizeof times);
  if (got == static_cast<ssize_t>(sizeof times)) return true;
  check(got < 0 && (errno == EAGAIN || errno == EINTR), "a timerfd gives a count or nothing");
  return false;  // moved or cancelled since the kernel said it was due
}

}  // namespace

struct Alarm::State : std::enable_shared_from_this<Alarm::State> {
  UniqueFd fd;  // declared before the watch on it: outlives it
  std::unique_ptr<Watch> watch;
  std::unique_ptr<Handle<uv_timer_t>> coarse;  // in their place, when no descriptor was left
  std::function<void()> on_due;
  bool armed = false;

  void set(std::chrono::nanoseconds at) {
    if (coarse) return set_coarse(at);
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(at.count() / 1'000'000'000);
    spec.it_value.tv_nsec = static_cast<long>(at.count() % 1'000'000'000);
    if (::timerfd_settime(fd.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0)
      broken("timerfd_settime", errno_text(errno));
    armed = at.count() != 0;
  }

  // libuv counts in whole milliseconds, from when its turn began.
  void set_coarse(std::chrono::nanoseconds at) {
    armed = at.count() != 0;
    if (!armed) return must(uv_timer_stop(coarse->get()), "uv_timer_stop");
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(at - Clock::now().time_since_epoch()).count() + 1;
    uv_update_time(coarse->get()->loop);
    must(uv_timer_start(coarse->get(), [](uv_timer_t* timer) { static_cast<State*>(timer->data)->due(); },
                        static_cast<std::uint64_t>(std::max<std::int64_t>(wait, 0)), 0),
         "uv_timer_start");
  }

  void fire() {
    if (take_expiry(fd.get())) due();
  }

  void due() {
    if (!armed) return;
    armed = false;
    const auto self = shared_from_this();  // on_due may destroy the Alarm
    on_due();
  }
};

Alarm::Alarm(Loop& loop, std::function<void()> on_due) : state_(std::make_shared<State>()) {
  state_->fd.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  state_->on_due = std::move(on_due);
  if (!state_->fd) {
    if (errno != EMFILE && errno != ENFILE) broken("timerfd_create", errno_text(errno));
    // Whoever sets an alarm is about to connect, or to wait for better times: no reason to die.
    state_->coarse = std::make_unique<Handle<uv_timer_t>>();
    must(uv_timer_init(loop.raw(), state_->coarse->get()), "uv_timer_init");
    state_->coarse->get()->data = state_.get();
    return;
  }
  state_->watch = std::make_unique<Watch>(loop, state_->fd.get(), [s = state_.get()](bool, bool) { s->fire(); });
  state_->watch->want(true, false);
}

Alarm::~Alarm() {
  state_->armed = false;
  state_->watch.reset();  // the state itself may still be under a running on_due
  state_->coarse.reset();
}

void Alarm::set_in(std::chrono::nanoseconds delay) {
  const auto now = Clock::now();
  set_at(now + std::min(delay, std::chrono::nanoseconds(Clock::time_point::max() - now)));
}

void Alarm::set_at(Clock::time_point when) {
  // Zero would disarm a timerfd; a moment in the past makes it due at once.
  state_->set(std::max(std::chrono::nanoseconds(when.time_since_epoch()), std::chrono::nanoseconds{1}));
}

void Alarm::cancel() {
  if (state_->armed) state_->set(std::chrono::nanoseconds{0});
}

bool Alarm::armed() const { return state_->armed; }

}  // namespace romancy::io
