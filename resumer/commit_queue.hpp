// CommitQueue: group commit. Whatever became ready while the last transaction was under way goes into the next one;
// an idle system commits at once, a busy one shares one flush among many runs.
//
// Each run's answer is its own: a stale lease in a batch fails nobody else. A batch refused because of one run's data
// (a bad character, a constraint) is halved until the culprit stands alone; only it gets the error.
// Bound: `max_batch` runs a transaction; the queue itself is bounded by the leases of the process.
// A passing failure (deadlock, cancelled statement) sends the batch again; a lost connection answers everything with
// the try-again error, and the outcome is unknown: the owner begins a new session.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"
#include "common/proc/board.hpp"
#include "resumer/run_store.hpp"

namespace romancy::resumer {

class CommitQueue {
 public:
  using Reply = std::function<void(Result<Committed>)>;
  CommitQueue(io::Loop& loop, RunStore& store, proc::Slot slot, int max_batch, int inbox_limit);

  void session(std::int64_t session) { session_ = session; }
  void push(CommitItem item, Reply reply);
  void drop_all();  // the connection or the session is gone: forget, answer nobody
  [[nodiscard]] bool idle() const { return queue_.empty() && halves_.empty() && !again_ && !under_way_; }

 private:
  struct Entry {
    CommitItem item;
    Reply reply;
  };
  using Batch = std::vector<Entry>;

  void pump();
  void send(const std::shared_ptr<Batch>& batch);
  void failed(std::shared_ptr<Batch> batch, const Error& error);

  io::Loop& loop_;
  RunStore& store_;
  proc::Slot slot_;
  int max_batch_, inbox_limit_;
  std::int64_t session_ = 0;
  std::uint64_t epoch_ = 0;             // drop_all() makes what is under way a stranger
  bool under_way_ = false, pump_due_ = false;
  std::deque<Entry> queue_;
  std::deque<std::shared_ptr<Batch>> halves_;  // parts of a refused batch, before the queue
  std::shared_ptr<Batch> again_;
  io::Alarm retry_;
};

}  // namespace romancy::resumer
