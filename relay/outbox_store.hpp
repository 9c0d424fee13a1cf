// OutboxStore: what the relay asks of the database. SQL in, structs out; one connection, no state.
//
// Every call answers exactly once, on the loop; a lost connection is a try-again error whose outcome is unknown.
// Calls are answered in order, so what must happen before the next session begins is simply sent before it.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/conn.hpp"
#include "relay/cloud_event.hpp"

namespace romancy::relay {

struct Delivered {
  std::string event_id;
  int attempt = 0;
};

struct Failed {
  std::string event_id;
  int attempt = 0;
  std::string why;
  std::chrono::milliseconds wait{};
  bool give_up = false;
};

class OutboxStore {
 public:
  template <class T>
  using Reply = std::function<void(Result<T>)>;
  using ms = std::chrono::milliseconds;

  explicit OutboxStore(pg::Conn& conn) : conn_(conn) {}

  void check_schema(Reply<void> reply);  // refuse: this program must not run on that schema
  // Begins `session`, and ends the former ones: what they held is due at once.
  void start_session(std::int64_t session, const std::string& worker, ms timeout,
                     const std::vector<std::int64_t>& former, Reply<void> reply);
  void heartbeat(std::int64_t session, ms timeout, Reply<bool> reply);  // false: the session is over
  void end_session(std::int64_t session, Reply<void> reply);

  // Events whose time has come, in the order of the outbox; they are ours for `hold`, while the session lives.
  void claim(std::int64_t session, int most, ms hold, Reply<std::vector<Event>> reply);
  void next(Reply<std::optional<std::int64_t>> reply);  // microseconds until the earliest attempt; none: all delivered
  void complete(std::int64_t session, const std::vector<Delivered>& events, Reply<int> reply);  // how many were ours
  void fail(std::int64_t session, const Failed& event, Reply<bool> reply);                      // was it ours

 private:
  pg::Conn& conn_;
};

}  // namespace romancy::relay
