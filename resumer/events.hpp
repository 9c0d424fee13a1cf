// events: the vocabulary of inbox and history. The numbers are stored: never change one, only append.
// sql/migrations/0001 says the same numbers in its views; tests/pg checks that they agree.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <romancy/channel.hpp>

namespace romancy::resumer {

// What happened *to* an instance: rows of the inbox, written by whoever caused it.
enum class InboxKind : std::int16_t {
  start = 1,      // data: the input
  message = 2,    // name: channel; data; metadata; message_id; op: not 0 when it came from a competing channel
  timer = 3,      // op: the sleep that is over
  timeout = 4,    // op: the receive whose wait is over
  retry = 5,      // op: the activity to try again
  cancel = 6,     // data: {"reason": ..}
  recover = 7,    // its session ended; data: {"crash": bool}
  expired = 8,    // the workflow's own time is over (WorkflowOptions::timeout)
  refused = 9,    // op: a subscription that could not be made; name: channel; data: {"type","message"}
  compensate = 10,  // somebody decided about compensations that failed for good; data: {"retry": bool}
  child_ended = 11,  // op: the child's; data: {"status": "completed", "output"}, or "failed", "cancelled" or "refused"
                     // (it never began) and {"error": {"type", "message"}}
  task_ended = 12,   // op: the queued activity's; name: activity; data: {"generation", "status": "completed", "result"},
                     // or "failed" and {"error": {"type", "message", "attempt"}}, or "withdrawn" (nobody had begun it)
};

// What the workflow did and was told: rows of the history, in the order of delivery (seq).
// A *command* is what the code asked for; an *event* is what it was told. Replay matches op, kind and name of both.
enum class HistoryKind : std::int16_t {
  started = 1,              // event, op 0; data: the input
  activity_completed = 2,   // event; name: activity; data: the result
  activity_failed = 3,      // event; data: {"type","message","attempt"}
  activity_retry = 4,       // command: an attempt failed and the next waits in the database; data: as above
  timer_started = 5,        // command; name: "sleep"
  timer_fired = 6,          // event
  wait_started = 7,         // command; name: channel
  message_received = 8,     // event; name: channel; data: {"message_id","data","metadata"}
  wait_timed_out = 9,       // event; name: channel
  subscribed = 10,          // command; name: channel; data: {"mode":"competing"} or null
  unsubscribed = 11,        // command; name: channel
  published = 12,           // command; name: channel
  event_sent = 13,          // command; name: event type
  side_effect = 14,         // command that carries its value; name: "now" or what the code calls it; data: the value
  cancel_requested = 15,    // event, op 0; data: {"reason"}, and {"type"} when the engine did it (time-out, limit)
  completed = 16,           // last; data: the output
  failed = 17,              // last; data: {"type","message"}
  cancelled = 18,           // last; data: {"reason"}
  recurred = 19,            // last of a generation; data: the input of the next
  joined = 20,              // command; name: group
  left = 21,                // command; name: group
  subscription_refused = 22,   // event; op: the subscribe's; name: channel; data: {"type","message"}
  compensation_decided = 23,   // event, op 0: failed compensations run again, or are given up; data: {"retry": bool}
  child_started = 24,          // command; name: workflow; data: {"id"}
  child_completed = 25,        // event; op: the child's; name: workflow; data: its output
  child_failed = 26,           // event; name: workflow; data: {"type","message"}
  start_sent = 27,             // command; name: workflow; data: {"id"}: an instance that is no child
  cancel_sent = 28,            // command; name: the instance's id; data: {"reason"}
  patched = 29,                // command; name: the patch: from here on the code goes the new way
  activity_queued = 30,        // command; name: activity; data: {"queue"}
};

// expiry: the workflow's own time-out, op 0.
enum class TimerKind : std::int16_t { sleep = 1, timeout = 2, retry = 3, start_at = 4, expiry = 5 };

enum class Status : std::int16_t { running = 1, completed = 2, failed = 3, cancelled = 4, stuck = 5, compensating = 6 };

inline bool is_final(Status status) {
  return status == Status::completed || status == Status::failed || status == Status::cancelled;
}

struct HistoryRow {
  std::int64_t seq = 0;  // 1, 2, 3 .. without a gap
  std::int32_t op = 0;   // operation number in program order; 0: the instance itself
  HistoryKind kind{};
  std::string name;
  std::string data;      // JSON text
};

struct InboxRow {
  std::int64_t id = 0;
  InboxKind kind{};
  std::int32_t op = 0;
  std::string name;
  std::string data;      // JSON text; for a message the payload
  std::string metadata;  // JSON text; messages only
  std::int64_t message_id = 0;
};

}  // namespace romancy::resumer
