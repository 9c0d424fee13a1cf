// ActivityPool: the threads on which blocking activities run. The loop's thread never does.
//
// submit() queues a job; it runs on one of `threads` threads; then its result is handed to `done` on the loop. A job
// with a time-out that runs longer is given up: its stop token is set, and `done` gets nothing instead of a result,
// at once; what the function returns later is dropped. The time counts from when the job begins, not in the queue.
//
// Its thread is not ours while the function does not return, and no thread can be ended from outside. So a thread that
// was given up gets a replacement, as many at once as the pool has threads, each with a warning that names the
// activity; one that comes back ends itself. Beyond that bound the pool shrinks, and an error says so: somebody must
// mend that activity.
// Bound: the queue holds what the engine leased (worker.max_in_flight instances), and no job is ever refused.
// Stopping: the destructor drops the queued jobs and waits for the running ones, given up or not: ask busy() first.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "common/io/alarms.hpp"
#include "common/io/loop.hpp"
#include "resumer/run.hpp"

namespace romancy::resumer {

class ActivityPool {
 public:
  using Id = std::uint64_t;
  struct Job {
    std::string name;                      // of the activity, for the log
    std::chrono::milliseconds timeout{0};  // 0: none
    std::stop_source stop;                 // asked when the time is over
    // On a pool thread; must not throw. The token is set when the pool ends: what waits for the loop waits for it too.
    std::function<ActivityOutcome(const std::stop_token& ending)> work;
    std::function<void(std::optional<ActivityOutcome>)> done;  // on the loop, once; nothing: the time was over
  };
  ActivityPool(io::Loop& loop, int threads);
  ~ActivityPool();
  ActivityPool(const ActivityPool&) = delete;
  ActivityPool& operator=(const ActivityPool&) = delete;

  // All of these on the loop.
  Id submit(Job job);
  void untimed(Id job);        // its time does not count any more
  std::size_t drop_queued();   // forgets what has not begun; how many. Their `done` is never called
  [[nodiscard]] bool busy() const { return !jobs_.empty(); }     // a function has not returned yet
  [[nodiscard]] std::size_t threads() const { return threads_.size(); }
  void on_idle(std::function<void()> fn) { on_idle_ = std::move(fn); }  // called when busy() becomes false

 private:
  struct Queued {
    Id id;
    bool timed;
    std::function<ActivityOutcome(const std::stop_token&)> work;
  };
  struct Watched {  // the loop's side of a job
    std::string name;
    std::chrono::milliseconds timeout;
    std::stop_source stop;
    std::function<void(std::optional<ActivityOutcome>)> done;  // empty: given up
    io::Alarms::Id alarm = 0;
  };

  void add_thread();
  void serve(const std::stop_token& ending, std::uint64_t self);
  void began(Id id, std::chrono::steady_clock::time_point when);
  void ended(Id id, ActivityOutcome outcome, std::optional<std::uint64_t> retired);
  void give_up(Id id);

  io::Loop& loop_;
  const std::size_t size_;
  io::Alarms alarms_;
  std::unordered_map<Id, Watched> jobs_;
  std::size_t replaced_ = 0;  // threads given up that have a replacement
  Id last_ = 0;
  std::uint64_t last_thread_ = 0;
  std::function<void()> on_idle_;

  std::mutex mutex_;  // guards the three below
  std::condition_variable_any ready_;
  std::deque<Queued> queue_;
  std::unordered_set<Id> running_;
  std::unordered_set<Id> superseded_;  // running, and their thread has a replacement: it ends after them

  std::map<std::uint64_t, std::jthread> threads_;  // last: its threads use the others
};

}  // namespace romancy::resumer
