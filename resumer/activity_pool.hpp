// ActivityPool: the bounded threads on which blocking activities run. The loop's thread never does.
//
// submit() queues a job; it runs on one of `threads` threads; then its result is handed to `done` on the loop.
// Bound: the queue holds what the engine leased (worker.max_in_flight instances), and no job is ever refused.
// Stopping: the destructor asks every job to stop, waits for the running ones, and drops the queued ones.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/io/loop.hpp"
#include "resumer/run.hpp"

namespace romancy::resumer {

class ActivityPool {
 public:
  struct Job {
    std::function<ActivityOutcome()> work;         // on a pool thread; must not throw
    std::function<void(ActivityOutcome)> done;     // on the loop
  };
  ActivityPool(io::Loop& loop, int threads);
  ~ActivityPool();
  ActivityPool(const ActivityPool&) = delete;
  ActivityPool& operator=(const ActivityPool&) = delete;

  void submit(Job job);
  // Forgets what has not begun; how many. Their `done` is never called.
  std::size_t drop_queued();

 private:
  void serve(const std::stop_token& stop);

  io::Loop& loop_;
  std::mutex mutex_;
  std::condition_variable_any ready_;
  std::deque<Job> queue_;
  std::vector<std::jthread> threads_;
};

}  // namespace romancy::resumer
