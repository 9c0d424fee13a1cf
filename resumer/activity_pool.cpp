#include "resumer/activity_pool.hpp"

#include <utility>

#include "common/base/log.hpp"

namespace romancy::resumer {

ActivityPool::ActivityPool(io::Loop& loop, int threads)
    : loop_(loop), size_(static_cast<std::size_t>(threads)), alarms_(loop) {
  for (int i = 0; i < threads; ++i) add_thread();
}

ActivityPool::~ActivityPool() {
  for (auto& [key, thread] : threads_) thread.request_stop();
  threads_.clear();  // joins; what still waits in the queue is dropped with it
}

void ActivityPool::add_thread() {
  const std::uint64_t self = ++last_thread_;
  threads_.emplace(self, std::jthread([this, self](const std::stop_token& ending) { serve(ending, self); }));
}

ActivityPool::Id ActivityPool::submit(Job job) {
  const Id id = ++last_;
  const bool timed = job.timeout.count() > 0;
  jobs_.emplace(id, Watched{std::move(job.name), job.timeout, std::move(job.stop), std::move(job.done), 0});
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({id, timed, std::move(job.work)});
  }
  ready_.notify_one();
  return id;
}

std::size_t ActivityPool::drop_queued() {
  const std::lock_guard lock(mutex_);
  const std::size_t dropped = queue_.size();
  for (const Queued& job : queue_) jobs_.erase(job.id);
  queue_.clear();
  return dropped;
}

void ActivityPool::serve(const std::stop_token& ending, std::uint64_t self) {
  for (;;) {
    Queued job;
    {
      std::unique_lock lock(mutex_);
      if (!ready_.wait(lock, ending, [this] { return !queue_.empty(); })) return;
      if (ending.stop_requested()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
      running_.insert(job.id);
    }
    if (job.timed) loop_.post([this, id = job.id, now = std::chrono::steady_clock::now()] { began(id, now); });
    ActivityOutcome outcome = job.work(ending);
    job.work = nullptr;  // what it captured ends on this thread, before anybody hears of the result
    bool superseded = false;
    {
      const std::lock_guard lock(mutex_);
      running_.erase(job.id);
      superseded = superseded_.erase(job.id) > 0;
    }
    loop_.post([this, id = job.id, outcome = std::move(outcome),
                retired = superseded ? std::optional(self) : std::nullopt]() mutable {
      ended(id, std::move(outcome), retired);
    });
    if (superseded) return;
  }
}

void ActivityPool::began(Id id, std::chrono::steady_clock::time_point when) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second.timeout.count() == 0) return;
  found->second.alarm =
      alarms_.set_in(when + found->second.timeout - std::chrono::steady_clock::now(), [this, id] { give_up(id); });
}

void ActivityPool::untimed(Id id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  found->second.timeout = std::chrono::milliseconds(0);
  alarms_.cancel(found->second.alarm);
}

void ActivityPool::give_up(Id id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  const bool replace = replaced_ < size_;
  {
    const std::lock_guard lock(mutex_);
    if (!running_.contains(id)) return;  // it has returned in time, ended() is on its way
    if (replace) superseded_.insert(id);
  }
  if (replace) {
    ++replaced_;
    add_thread();
    log::warn("activity outlasts its time-out, its thread is replaced until it returns",
              {{"activity", found->second.name}, {"replaced", replaced_}, {"threads", size_}});
  } else {
    log::error("activity outlasts its time-out and as many before it never returned: one thread less",
               {{"activity", found->second.name}, {"replaced", replaced_}, {"threads", size_}});
  }
  const auto done = std::exchange(found->second.done, nullptr);
  found->second.stop.request_stop();
  done(std::nullopt);
}

void ActivityPool::ended(Id id, ActivityOutcome outcome, std::optional<std::uint64_t> retired) {
  if (retired) {
    --replaced_;
    threads_.erase(*retired);  // joins: it ends right after it posted this
  }
  auto node = jobs_.extract(id);
  if (node.empty()) return;
  alarms_.cancel(node.mapped().alarm);
  if (node.mapped().done) {
    node.mapped().done(std::move(outcome));
  } else {
    log::info("activity returned after its time-out, its result is dropped", {{"activity", node.mapped().name}});
  }
  if (jobs_.empty() && on_idle_) on_idle_();
}

}  // namespace romancy::resumer
