// hooks: what a program wants to know of the lives of its instances: for its log, its metrics, its traces.
//
//   struct Metrics : romancy::Hooks {
//     void workflow_completed(const Moment& at) override { completed_[std::string(at.workflow_name)]++; }
//   };
//   return romancy::run_worker(argc, argv, {order}, {charge}, std::make_shared<Metrics>());
//
// Each point that is a row of history is told once, after the commit that wrote the row, in the order of history; in
// whichever worker made that commit. Replays tell nothing again. A process that dies between the commit and the call
// has told it to nobody: hooks are for watching, never for effects (an activity, or send_event, is).
//
// All are called on the worker's loop thread, one after the other: they must return at once and must not wait. What
// they throw is logged, and changes nothing.
#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>

namespace romancy {

class Hooks {
 public:
  // Valid during the call.
  struct Moment {
    std::string_view instance_id, workflow_name;
    int generation = 0;
    std::int64_t seq = 0;    // the row of history; 0: no row
    std::int32_t op = 0;     // the operation; 0: the instance itself
    std::string_view name;   // of the activity, channel, group, event type, side effect, child's workflow; "sleep" or "retry" for timers
    std::string_view data;   // JSON: the input, the result, the error, the message ..
    std::chrono::system_clock::time_point at;  // by the database's clock: of the commit
  };
  virtual ~Hooks() = default;

  // ---- the instance ----
  virtual void workflow_started(const Moment&) {}
  virtual void workflow_completed(const Moment&) {}
  virtual void workflow_failed(const Moment&) {}
  virtual void workflow_cancelled(const Moment&) {}
  virtual void workflow_recurred(const Moment&) {}       // data: the next generation's input
  virtual void cancel_requested(const Moment&) {}        // also by a time-out or a limit: data has a "type" then
  virtual void compensating(const Moment&) {}            // its compensations begin; no row
  virtual void compensation_decided(const Moment&) {}
  virtual void workflow_parked(const Moment&) {}         // data: why, as text, not JSON; no row
  virtual void replayed(const Moment&, std::int64_t /*rows*/) {}  // its code was rebuilt from history; no row

  // ---- activities ----
  virtual void attempt_started(const Moment&, int /*attempt*/) {}  // handed to the threads; no row
  virtual void attempt_ended(const Moment&, int /*attempt*/, bool /*ok*/) {}  // no row
  virtual void activity_completed(const Moment&) {}
  virtual void activity_failed(const Moment&) {}         // for good
  virtual void activity_retrying(const Moment&) {}       // the next attempt waits in the database

  // ---- waiting ----
  virtual void timer_started(const Moment&) {}
  virtual void timer_fired(const Moment&) {}
  virtual void wait_started(const Moment&) {}
  virtual void message_received(const Moment&) {}
  virtual void wait_timed_out(const Moment&) {}

  // ---- children; name: their workflow ----
  virtual void child_started(const Moment&) {}           // data: {"id"}
  virtual void child_completed(const Moment&) {}         // data: its output
  virtual void child_failed(const Moment&) {}            // data: {"type", "message"}; also cancelled, or refused

  // ---- what it did ----
  virtual void start_sent(const Moment&) {}              // of an instance that is no child
  virtual void cancel_sent(const Moment&) {}             // name: the instance's id
  virtual void patched(const Moment&) {}                 // it goes the new way; name: the patch
  virtual void activity_queued(const Moment&) {}         // data: {"queue"}
  virtual void subscribed(const Moment&) {}
  virtual void unsubscribed(const Moment&) {}
  virtual void subscription_refused(const Moment&) {}
  virtual void published(const Moment&) {}
  virtual void event_sent(const Moment&) {}
  virtual void joined(const Moment&) {}
  virtual void left(const Moment&) {}
  virtual void side_effect(const Moment&) {}
};

}  // namespace romancy
