#include "listener/out_queue.hpp"

#include <utility>

namespace romancy::listener {

void OutQueue::resync(proc::ResyncWhy why) {
  drop_wakes();
  if (!resync_) resync_ = why;  // the first reason: the one the subscriber was told nothing of
}

void OutQueue::gone(std::int64_t session) {
  // A timer that misses one finds the session when it tries the locks: the oldest may go.
  if (gone_.size() == kMaxWakes) gone_.pop_front();
  gone_.push_back(session);
}

bool OutQueue::wake(std::string_view line) {
  if (resync_ || waiting_.contains(line)) return true;
  if (wakes_.size() == kMaxWakes || bytes_ + line.size() > kMaxBytes) {
    resync(proc::ResyncWhy::overflow);
    return false;
  }
  bytes_ += line.size();
  waiting_.insert(wakes_.emplace_back(line));
  return true;
}

std::string OutQueue::pop() {
  if (state_) return proc::encode_state(*std::exchange(state_, std::nullopt));
  if (resync_) return proc::encode_resync(*std::exchange(resync_, std::nullopt));
  if (!gone_.empty()) {
    const std::int64_t session = gone_.front();
    gone_.pop_front();
    return proc::encode_gone(session);
  }
  waiting_.erase(wakes_.front());
  std::string line = std::move(wakes_.front());
  wakes_.pop_front();
  bytes_ -= line.size();
  return line;
}

void OutQueue::drop_wakes() {
  waiting_.clear();
  wakes_.clear();
  bytes_ = 0;
}

}  // namespace romancy::listener
