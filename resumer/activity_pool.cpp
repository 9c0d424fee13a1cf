#include "resumer/activity_pool.hpp"

#include <utility>

namespace romancy::resumer {

ActivityPool::ActivityPool(io::Loop& loop, int threads) : loop_(loop) {
  threads_.reserve(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { serve(stop); });
  }
}

ActivityPool::~ActivityPool() {
  for (auto& thread : threads_) thread.request_stop();
  threads_.clear();  // joins; what still waits in the queue is dropped with it
}

void ActivityPool::submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  ready_.notify_one();
}

std::size_t ActivityPool::drop_queued() {
  const std::lock_guard lock(mutex_);
  const std::size_t dropped = queue_.size();
  queue_.clear();
  return dropped;
}

void ActivityPool::serve(const std::stop_token& stop) {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      if (!ready_.wait(lock, stop, [this] { return !queue_.empty(); })) return;
      if (stop.stop_requested()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    loop_.post([outcome = job.work(), done = std::move(job.done)]() mutable { done(std::move(outcome)); });
  }
}

}  // namespace romancy::resumer
