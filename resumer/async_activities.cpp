#include "resumer/async_activities.hpp"

#include <fcntl.h>
#include <sys/epoll.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/watch.hpp"
#include "resumer/lease.hpp"

namespace romancy::resumer {
namespace {

// 0: epoll can watch it; EPERM: it never blocks (a file); anything else: it is no descriptor, or there are too many.
int why_not_watched(int fd) {
  const UniqueFd probe(::epoll_create1(EPOLL_CLOEXEC));
  if (!probe) return errno;
  epoll_event event{};
  return ::epoll_ctl(probe.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

}  // namespace

struct AsyncActivities::Running final : detail::AsyncHost {
  AsyncActivities& owner;
  const Id id;
  Job job;
  AsyncAttempt attempt;
  detail::AsyncRunner runner;
  Async<std::string> body;
  detail::AsyncWait* waiting = nullptr;
  std::uint64_t serial = 0;  // of the wait: counts up
  int waits_after_stop = 0;
  io::Alarms::Id pause = 0, timeout = 0;
  UniqueFd fd;  // a copy: the loop watches a descriptor once only. Declared before the watch on it
  std::unique_ptr<io::Watch> watch;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;  // last: gone first

  Running(AsyncActivities& of, Id as, Job what)
      : owner(of),
        id(as),
        job(std::move(what)),
        attempt(job.instance_id, job.start.attempt, job.start.key, job.stop.get_token(), *this) {}

  void wait(detail::AsyncWait& wait) override {
    waiting = &wait;
    ++serial;
    const auto soon = [this] { owner.door_->post(id, serial); };
    if (attempt.stop_requested()) {
      ++waits_after_stop;
      wait.stopped = true;
      return soon();
    }
    switch (wait.kind) {
      case detail::AsyncWait::Kind::sleep:
        pause = owner.alarms_.set_in(wait.pause, [this, s = serial] { owner.resume(id, s); });
        break;
      case detail::AsyncWait::Kind::readable:
      case detail::AsyncWait::Kind::writable: {
        const int why = why_not_watched(wait.fd);
        if (why == EPERM) return soon();
        fd.reset(why == 0 ? ::fcntl(wait.fd, F_DUPFD_CLOEXEC, 0) : -1);
        if (!fd) {
          wait.fd_error = why != 0 ? why : errno;
          return soon();
        }
        watch = std::make_unique<io::Watch>(owner.loop_, fd.get(), [this, s = serial](bool, bool) { owner.resume(id, s); });
        watch->want(wait.kind == detail::AsyncWait::Kind::readable, wait.kind == detail::AsyncWait::Kind::writable);
        break;
      }
      case detail::AsyncWait::Kind::completion: break;  // whoever has the waker
    }
  }

  std::function<void()> waker() override {
    return [door = owner.door_, as = id, next = serial + 1] { door->post(as, next); };
  }

  void forget_wait() {
    owner.alarms_.cancel(std::exchange(pause, 0));
    watch.reset();
    fd.reset();
    waiting = nullptr;
  }
};

void AsyncActivities::Door::post(Id id, std::uint64_t serial) {
  const std::lock_guard lock(mutex);
  if (owner == nullptr) return;
  owner->loop_.post([door = owner->door_, id, serial] {
    AsyncActivities* of = nullptr;
    {
      const std::lock_guard again(door->mutex);
      of = door->owner;
    }
    if (of == nullptr) return;  // (it ends on this thread: it cannot go between here and there)
    if (id == 0) of->pump();
    else if (serial == 0) of->stop(id);
    else of->resume(id, serial);
  });
}

AsyncActivities::AsyncActivities(io::Loop& loop, int limit)
    : loop_(loop), limit_(static_cast<std::size_t>(limit)), alarms_(loop), door_(std::make_shared<Door>()) {
  door_->owner = this;
}

AsyncActivities::~AsyncActivities() {
  {
    const std::lock_guard lock(door_->mutex);
    door_->owner = nullptr;
  }
  for (auto& [id, running] : running_) running->forget_wait();
  running_.clear();
}

void AsyncActivities::submit(Job job) {
  queue_.push_back(std::move(job));
  pump_soon();
}

void AsyncActivities::pump_soon() {
  if (std::exchange(pump_due_, true)) return;
  door_->post(0, 0);
}

std::size_t AsyncActivities::drop_queued() {
  const std::size_t dropped = queue_.size();
  queue_.clear();
  return dropped;
}

void AsyncActivities::pump() {
  pump_due_ = false;
  while (running_.size() < limit_ && !queue_.empty()) {
    Job job = std::move(queue_.front());
    queue_.pop_front();
    begin(std::move(job));
  }
}

void AsyncActivities::begin(Job job) {
  const Id id = ++last_;
  auto& running = *running_.emplace(id, std::make_unique<Running>(*this, id, std::move(job))).first->second;
  if (const auto limit = running.job.definition->options().timeout; limit.count() > 0) {
    running.timeout = alarms_.set_in(limit, [this, id] { timed_out(id); });
  }
  running.body = running.job.definition->start(running.attempt, running.job.start.input);
  running.body.start(running.runner);
  // Deferred: whoever asks for the stop is in the middle of something.
  running.on_stop.emplace(running.job.stop.get_token(), [door = door_, id] { door->post(id, 0); });
  run(running);
}

// Until it waits or has ended. `running` may be gone afterwards.
void AsyncActivities::run(Running& running) {
  running.runner.run();
  if (running.body.done()) {
    AttemptResult result;
    try {
      result.data = running.body.take();
      result.ok = true;
    } catch (...) {
      result = detail::failed_attempt();
    }
    return end(running, outcome_of(running.job.start, std::move(result)));
  }
  if (running.waits_after_stop > kWaitsAfterStop) {
    log::error("asynchronous activity does not stop, it is destroyed where it waits", {{"activity", running.job.start.name}});
    running.forget_wait();
    end(running, outcome_of(running.job.start, {.error_type = "Stopped", .error_message = "it did not stop by itself"}));
  }
}

void AsyncActivities::resume(Id id, std::uint64_t serial) {
  const auto found = running_.find(id);
  if (found == running_.end() || found->second->serial != serial || found->second->waiting == nullptr) return;
  Running& running = *found->second;
  const auto next = running.waiting->waiting;
  running.forget_wait();
  running.runner.post(next);
  run(running);
}

void AsyncActivities::stop(Id id) {
  const auto found = running_.find(id);
  if (found == running_.end() || found->second->waiting == nullptr) return;
  found->second->waiting->stopped = true;
  resume(id, found->second->serial);
}

void AsyncActivities::timed_out(Id id) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  Running& running = *found->second;
  const auto done = std::exchange(running.job.done, nullptr);
  running.job.stop.request_stop();
  done(resumer::timed_out(running.job.start, running.job.definition->options().timeout));
}

void AsyncActivities::end(Running& running, const ActivityOutcome& outcome) {
  const auto node = running_.extract(running.id);
  alarms_.cancel(running.timeout);
  if (running.job.done) running.job.done(outcome);
  if (!queue_.empty()) pump_soon();
}

}  // namespace romancy::resumer
