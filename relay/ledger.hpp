// Ledger: what the relay has in hand, from the claim until the database has heard what became of it. Pure.
//
//   claimed -> waiting -> sent -> outcome known -> told
//
// Every entry remembers the session it was claimed under: an outcome is told under that session, or not at all (promise
// 3: what lost its claim changes nothing). When the connection is lost, what was told without an answer is told again
// on the next one, before the new session ends the old: so a restart of the database repeats fewer events.
//
// Bound: the relay claims only while in_hand() leaves room.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "relay/cloud_event.hpp"
#include "relay/outbox_store.hpp"

namespace romancy::relay {

class Ledger {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Entry {
    Event event;
    std::int64_t session = 0;
    Time send_before{};  // later, its claim might end while it is being delivered
  };
  struct Outcomes {  // of one session
    std::vector<Delivered> delivered;
    std::vector<Failed> failed;
  };

  void claimed(std::vector<Event> events, std::int64_t session, Time send_before);
  // The next event to send, in the order of the claims; those whose time has passed are dropped.
  std::optional<Entry> take(Time now);
  void delivered(const Entry& entry);
  void failed(const Entry& entry, Failed what);
  // The session is over: what waits is not ours any more. What is being sent stays until its answer.
  void session_over() { waiting_.clear(); }

  // Takes what is to be told, by session; told() or untold() must follow for each.
  std::map<std::int64_t, Outcomes> take_outcomes();
  void told(std::size_t events) { telling_ -= events; }
  void untold(std::int64_t session, Outcomes outcomes);

  [[nodiscard]] bool waiting() const { return !waiting_.empty(); }
  [[nodiscard]] bool untold_outcomes() const { return !outcomes_.empty(); }
  [[nodiscard]] std::size_t in_hand() const { return waiting_.size() + sent_ + known_ + telling_; }

 private:
  std::deque<Entry> waiting_;
  std::map<std::int64_t, Outcomes> outcomes_;
  std::size_t sent_ = 0, known_ = 0, telling_ = 0;
};

}  // namespace romancy::relay
