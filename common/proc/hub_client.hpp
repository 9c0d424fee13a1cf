// HubClient: a process's ear. Subscribes to the hub's socket and stays subscribed.
//
// Promise: after each successful subscription, and after every gap the hub knows of, on_resync comes before the
//          first wake that follows: "look at everything once".
// Promise: on_live(false) comes when the hub goes away or says that PostgreSQL is not heard: poll at the short
//          interval until on_live(true).
// No promise: one wake per change; order. Payloads are hints, unverified.
// Without a hub (started alone, or listener.enabled = false) nothing happens, and live() stays false.
// Failure: reconnects for ever, 50 ms to 5 s with jitter; garbage from the hub closes and reconnects.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/loop.hpp"

namespace romancy::proc {

// The notification kinds: the channel in PostgreSQL is <schema>_<kind>; on the hub's wire the kind alone is used.
inline constexpr const char* kWorkflowResumable = "workflow_resumable";
inline constexpr const char* kTimerExpired = "timer_expired";
inline constexpr const char* kChannelMessage = "channel_message";
inline constexpr const char* kOutboxPending = "outbox_pending";
inline constexpr const char* kActivityTask = "activity_task";

struct Subscription {
  std::string role;                         // "resumer", "timer", "relay", "observer"
  std::string group;                        // members of one group share the hints; another group gets them all
  std::vector<std::string> channels;        // kinds
  std::optional<std::int64_t> session;      // the database session whose death the hub reports to the timers
};

class HubClient {
 public:
  struct Handlers {
    std::function<void(std::string_view channel, std::string_view payload)> on_wake;
    std::function<void(std::string_view why)> on_resync;
    std::function<void(bool live)> on_live;
    std::function<void(std::int64_t session)> on_gone;  // timers only: the process of this session hung up
  };
  HubClient(io::Loop& loop, std::string socket_path, Subscription what, Handlers handlers);
  ~HubClient();  // no callback any more; also from within one
  HubClient(const HubClient&) = delete;
  HubClient& operator=(const HubClient&) = delete;
  void start();
  void stop();
  [[nodiscard]] bool live() const;
  // A worker that began a new session says so (closes and subscribes again).
  void session(std::int64_t session);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::proc
