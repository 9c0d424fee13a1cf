// OutQueue: what waits for one subscriber that does not read as fast as we hear. Pure.
//
// At most 1,024 wakes and 1 MiB of them; one more, and all are dropped for one resync, which says the same as all of
// them: look at everything. While a resync waits, wakes are not taken at all: the look it causes begins after them.
// What leaves first: the newest state, the resync, sessions that are gone, wakes in order. Equal wakes that wait
// are one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "common/proc/hub_wire.hpp"

namespace romancy::listener {

class OutQueue {
 public:
  static constexpr std::size_t kMaxWakes = 1024;
  static constexpr std::size_t kMaxBytes = 1u << 20;

  void state(bool live) { state_ = live; }
  void resync(proc::ResyncWhy why);
  void gone(std::int64_t session);
  // False: this one was too many, the queue has collapsed.
  bool wake(std::string_view line);

  [[nodiscard]] bool empty() const { return !state_ && !resync_ && gone_.empty() && wakes_.empty(); }
  // The next line to send. Not to be called when empty.
  std::string pop();

 private:
  void drop_wakes();

  std::optional<bool> state_;
  std::optional<proc::ResyncWhy> resync_;
  std::deque<std::int64_t> gone_;
  std::deque<std::string> wakes_;
  std::unordered_set<std::string_view> waiting_;  // the texts in wakes_: a deque does not move what it holds
  std::size_t bytes_ = 0;
};

}  // namespace romancy::listener
