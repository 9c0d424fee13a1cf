// AsyncActivities: the attempts of asynchronous activities, coroutines on the loop. See include/romancy/async.hpp.
//
// submit() queues an attempt; it begins in a later turn of the loop, when fewer than `limit` run. `done` comes once, in a
// later turn too: the caller may be in the middle of something. An attempt whose time is over is told as such at once;
// its coroutine then meets Stopped at its wait and unwinds by itself.
// A coroutine that swallows Stopped and goes on waiting is destroyed after kWaitsAfterStop waits.
// Destroying the AsyncActivities destroys every coroutine where it waits, and tells nobody.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <unordered_map>

#include "common/io/alarms.hpp"
#include "common/io/loop.hpp"
#include "resumer/run.hpp"
#include "romancy/romancy.hpp"

namespace romancy::resumer {

class AsyncActivities {
 public:
  struct Job {
    const detail::AsyncDefinition* definition = nullptr;
    ActivityStart start;
    std::string instance_id;
    std::stop_source stop;
    std::function<void(const ActivityOutcome&)> done;
  };
  AsyncActivities(io::Loop& loop, int limit);
  ~AsyncActivities();
  AsyncActivities(const AsyncActivities&) = delete;
  AsyncActivities& operator=(const AsyncActivities&) = delete;

  void submit(Job job);
  std::size_t drop_queued();  // forgets what has not begun; how many. Their `done` is never called
  [[nodiscard]] std::size_t running() const { return running_.size(); }

 private:
  using Id = std::uint64_t;
  struct Running;
  // The way back to the loop for other threads, which may use it when we are gone.
  struct Door {
    std::mutex mutex;
    AsyncActivities* owner = nullptr;
    // That wait of that attempt is over; serial 0: it is asked to stop; id 0: look at the queue.
    void post(Id id, std::uint64_t serial);
  };
  static constexpr int kWaitsAfterStop = 1000;

  void pump();
  void pump_soon();
  void begin(Job job);
  void run(Running& running);
  void resume(Id id, std::uint64_t serial);
  void stop(Id id);
  void timed_out(Id id);
  void end(Running& running, const ActivityOutcome& outcome);

  io::Loop& loop_;
  const std::size_t limit_;
  io::Alarms alarms_;
  std::shared_ptr<Door> door_;
  std::deque<Job> queue_;
  std::unordered_map<Id, std::unique_ptr<Running>> running_;
  Id last_ = 0;
  bool pump_due_ = false;
};

}  // namespace romancy::resumer
