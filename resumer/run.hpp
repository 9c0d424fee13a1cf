// Run: one instance's coroutine, driven by its history. Pure: no I/O, no clock, no thread.
//
// Model: the coroutine asks (commands: start an activity, a timer, a wait ..) and is told (events). Everything it was
// told is in history, in the order it was told; so feeding the same history to the same code makes the same asks.
//   replay():   feeds history. Each recorded command must be the next one the code asks for, each recorded event must
//               answer an open ask: same op, same kind, same name. Anything else is a Mismatch: the run is dead, the
//               instance is parked with the text (what was expected, what came), nothing is written.
//   deliver():  feeds inbox rows, in id order; each becomes a history event, or stays (a message nobody awaits yet; a
//               cancel while an activity is under way), or is dropped (the time-out of a wait that a message won).
//               A row that stayed may be delivered again.
//   activity_done(): feeds the outcome of an attempt the engine ran.
//   take():     everything to write since the last take, to be committed in one transaction, and the activities to
//               start *after* that commit was accepted (promise 5: a result is durable before the next one starts).
//
// What is told in which form:
//   activity   asking is not recorded; activity_completed or activity_failed is. A pause of more than a second before
//              the next attempt is recorded (activity_retry, deadline of kind retry) and so is its end (timer_fired
//              "retry"), so that a rebuilt run knows how many attempts were made and whether to wait. Shorter pauses
//              are not recorded, except the first of a policy with max_duration: its row says when the first attempt
//              began ("first_us").
//   queued     activity_queued, always; then activity_completed or activity_failed. The attempts between them are the
//   activity   database's: nothing is under way here, the run lets go. A cancel stays in the inbox, the task is asked to
//              stop, and the lease is kept until it has ended: first its result is recorded. One that nobody had begun is
//              withdrawn instead, at once.
//   receive    wait_started, always; then message_received or wait_timed_out.
//   child      child_started, always; then child_completed or child_failed, whether the code waits for it by then or not.
//   cancel     cancel_requested: thrown at whatever the code waits for at that point of history. While an activity is
//              under way (or may have been, in a run that was rebuilt) the row stays in the inbox: first the result is
//              recorded, then the cancellation. An attempt that fails meanwhile is not tried again.
//
// The coroutine runs inside these calls until it waits. Exceptions of workflow code end here: they fail the workflow.
// When the workflow fails or is cancelled, the registered compensations run, newest first, as activities; only then
// does the final event come. Cancellation is an exception at the point of waiting, sticky until the workflow ends; a
// workflow that catches it and returns a value has completed. While compensations run, a cancel is dropped.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "resumer/events.hpp"

namespace romancy::resumer {

class Registry;  // registry.hpp: the workflows and activities of this program

struct RunInfo {
  std::string instance_id;
  std::string workflow_name;
  int generation = 0;        // what keys and ids are made of
  int first_generation = 0;  // the number this instance began with; not 0 once instances have been removed
};

struct TimerStart {
  std::int32_t op = 0;
  TimerKind kind{};
  std::optional<std::chrono::microseconds> after;  // from the commit, by the database's clock
  std::optional<std::string> at;                   // or a moment, RFC 3339 UTC
};

struct Outgoing {  // a message this workflow published
  std::string channel, data, metadata;
  std::optional<std::string> target;  // an instance
  std::optional<std::string> group;   // or every member of a group
};

struct OutboxRow {
  std::string event_id;  // deterministic: instance, op, generation, "event"
  std::string type, source, data, content_type;
};

struct SubscriptionChange {
  std::string channel;
  bool on = true;
  std::int32_t op = 0;  // refused (the channel has the other mode): an inbox row of kind refused with this op
  ChannelMode mode = ChannelMode::broadcast;
};

struct MessageWait {  // a receive on a competing channel: it takes part in the distribution from the commit on
  std::int32_t op = 0;
  std::string channel;
};

struct GroupChange {
  std::string group;
  bool on = true;
};

struct ChildStart {  // an instance this workflow starts
  std::int32_t op = 0;   // 0: it is no child: nobody is told how it ends, and an id that exists already is well
  std::string id, workflow, queue, input;
  bool follows = true;   // it is cancelled when this instance ends
  std::string lane = "5";  // its priority and key, as lane_of() in sql/engine/lanes.sql writes them
};

struct CancelRequest {  // of another instance; an unknown or finished one is left alone
  std::string id, reason;
};

struct TaskStart {  // a queued activity: anybody who serves its queue carries it out
  std::int32_t op = 0;
  std::string activity, queue, input, key;
  std::string policy;  // JSON, as task_pause() in sql/engine/tasks.sql reads it
};

struct TaskStop {  // a queued activity that is taken back, or a child that is cancelled, if this operation has one
  std::int32_t op = 0;
  bool wanted = false;  // its result, or its failure, is waited for all the same
};

struct ActivityStart {
  std::int32_t op = 0;
  int attempt = 1;
  std::string name;
  std::string input;                   // JSON text
  std::string key;                     // idempotency key: "<instance>:<op>:<generation>", the same over retries
  std::chrono::milliseconds delay{0};  // a short retry waits in memory
};

struct ActivityOutcome {
  std::int32_t op = 0;
  int attempt = 1;
  bool ok = false;
  std::string data;                  // ok: the result as JSON text
  std::string error_type, error_message;
  bool terminal = false;             // the activity said: do not retry
  bool retryable = false;            // the database said: try again, whatever the policy says of this type
};

struct Output {
  std::vector<HistoryRow> history;
  std::vector<TimerStart> timers;
  std::vector<std::int32_t> timers_over;      // ops whose timer row and message wait (if any) are to be deleted
  std::vector<MessageWait> waits;
  std::vector<std::int64_t> given_back;       // inbox ids: competing messages nobody here waits for, for their channel
  std::vector<GroupChange> groups;
  std::vector<std::int64_t> consumed;         // inbox ids to delete
  std::vector<std::int64_t> seen;             // inbox ids that stay and need not wake anybody
  std::vector<SubscriptionChange> subscriptions;
  std::vector<Outgoing> messages;
  std::vector<OutboxRow> outbox;
  std::vector<ChildStart> children;
  std::vector<CancelRequest> cancels;
  std::optional<std::string> progress;        // what ctx.set_status() said last, as JSON text
  std::vector<TaskStart> tasks;
  std::vector<TaskStop> task_stops;
  std::vector<ActivityStart> activities;      // to start after the commit
  std::vector<std::int32_t> stopped;          // activities under way nobody waits for any more: ask them to stop
  Status status = Status::running;
  // The last history row is `recurred`: in this commit the history goes to the archive, timers and what they put into
  // the inbox go, the generation is counted up, and a start row with that row's data comes. Messages stay.
  bool recur = false;
  std::string note;                           // for operators, kept until the next commit: "compensation failed: .."
  bool release = true;                        // false: activities are under way, or a task that shall stop: keep the lease
  // The code waits on this channel, and the inbox may hold rows that are not in memory (marked seen: an earlier run
  // left them, or this one had too many). Read those with ids above seen_after, answer with Run::seen(), and take()
  // again: everything else this output would say is held back until then.
  std::optional<std::string> ask_seen;
  std::int64_t seen_after = 0;

  [[nodiscard]] bool empty() const;           // nothing to write (release alone does not count)
};

class Run {
 public:
  // Refuses when the workflow is not registered.
  static Result<std::unique_ptr<Run>> make(const Registry& registry, RunInfo info);
  virtual ~Run() = default;

  // The database's clock, for now(): microseconds since 1970 at this moment, set before each call that runs code.
  virtual void clock(std::int64_t unix_micros) = 0;
  // The whole history, once, before anything is delivered. Error refuse: the mismatch.
  virtual Result<void> replay(std::span<const HistoryRow> rows) = 0;
  // `left_behind`: the inbox may hold seen rows this Run has never been given (a cold claim said so). Before deliver().
  virtual void left_behind(bool some) = 0;
  virtual Result<void> deliver(std::span<const InboxRow> rows) = 0;   // refuse: malformed or impossible
  // The answer to ask_seen: seen rows of that channel above seen_after, in id order, and whether these are all of them.
  virtual Result<void> seen(const std::string& channel, std::span<const InboxRow> rows, bool all) = 0;
  virtual Result<void> activity_done(const ActivityOutcome& outcome) = 0;
  virtual Output take() = 0;

  [[nodiscard]] virtual bool finished() const = 0;
  [[nodiscard]] virtual std::int64_t last_seq() const = 0;
  // A cancellation would be seen by the code that awaits this activity: it is not shielded, and no compensation.
  [[nodiscard]] virtual bool stoppable(std::int32_t op) const = 0;
  // In words, what the code waits for: "the code waits for sleep (operation 3)".
  [[nodiscard]] virtual std::string doing() const = 0;
  // An activity that take() handed out and that the code still waits for.
  [[nodiscard]] virtual bool awaits(std::int32_t op) const = 0;
  // Ops of activities handed out by take() whose outcome has not come (for a rebuilt run: to be started anew).
  [[nodiscard]] virtual std::vector<std::int32_t> under_way() const = 0;
};

}  // namespace romancy::resumer
