// MemoryInstance: the database and the engine of one instance, in memory. What the tests of the replay core and
// romancy/testing.hpp have in common.
//
// The database part holds what commits wrote: history, inbox, deadlines, subscriptions, tasks. The engine part claims,
// replays, delivers, takes, commits, as resumer/resumer.cpp does. A commit is atomic. Who carries activities out, and what
// becomes of what leaves the instance (messages, children), is for the derived class to say.
//
// The process may die at every *point*: before a commit, after it, and after an activity ran whose result is not yet
// known. The run in memory is gone then, a recover row is in the inbox, and the next settle() rebuilds the run from what
// was committed.
//
// Failure: a commit that the database would refuse goes to wrong(). A run that does not fit its history is parked: stuck
// says why.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "resumer/registry.hpp"
#include "resumer/run.hpp"

namespace romancy::resumer {

struct Deadline {
  TimerKind kind{};
  std::int64_t due_us = 0;
  std::optional<std::string> at{};
};

// "2 activity_completed 'charge' (operation 1) {..}", one line a row.
std::string told_lines(const std::vector<HistoryRow>& rows, bool with_data);

class MemoryInstance {
 public:
  MemoryInstance() = default;
  MemoryInstance(MemoryInstance&&) = default;
  MemoryInstance& operator=(MemoryInstance&&) = default;
  virtual ~MemoryInstance() = default;

  // ---- what others do; nothing runs until settle() ----
  void start(const std::string& workflow, const std::string& input, const std::string& instance_id = "i-1");
  // Its id: the one given (a broadcast has one for all its copies), or the next of this instance; 0: the instance has ended.
  std::int64_t message(const std::string& channel, const std::string& data, const std::string& metadata = "{}",
                       std::int64_t message_id = 0);
  // Over a competing channel: the oldest wait on it, or the one of this operation, gets it. False: there is none.
  bool distribute(const std::string& channel, const std::string& data);
  bool distribute_to(std::int32_t op, const std::string& data, const std::string& metadata, std::int64_t message_id);
  void cancel(const std::string& reason = "changed my mind");
  // The child that this operation started has ended. error: {"type","message"}; how: failed, cancelled, refused.
  void child_completed(std::int32_t op, const std::string& output);
  void child_failed(std::int32_t op, const std::string& type, const std::string& message, const std::string& how = "failed");
  // The queued activity of this operation: somebody takes it; it has ended, whoever had it. False: it is not there any more.
  bool take_task(std::int32_t op);
  bool task_completed(std::int32_t op, const std::string& result);
  bool task_failed(std::int32_t op, const std::string& type, const std::string& message, int attempt = 1);
  bool fire(std::int32_t op);   // the deadline of this operation is due
  bool fire_next();             // the earliest one; false: there is none
  void put(InboxKind kind, std::int32_t op = 0, const std::string& name = {}, const std::string& data = {});
  // A process that was asked to stop, or that died, has let go of it.
  void lose(bool crash);

  // ---- the engine ----
  void settle();                // until nothing is left to do at this moment
  void evict() { drop_run(); }
  void resume();                // let a parked one go on
  [[nodiscard]] bool in_memory() const { return run_ != nullptr; }
  // In words, what the code waits for, as the text of a mismatch has it.
  [[nodiscard]] std::string doing() const;

  bool evict_always = false;    // suspended runs are never kept; those that cannot leave memory are replayed beside it
  int inbox_limit = 100;
  int seen_limit = 100;
  std::optional<int> die_at;    // points are counted; the process dies at this one
  std::function<bool()> dies;   // asked at every point
  int points = 0;               // passed so far

  // ---- what the database holds ----
  struct Mail {
    InboxRow row;
    bool seen = false;
  };
  std::vector<HistoryRow> history;
  std::vector<Mail> inbox;
  std::map<std::int32_t, Deadline> deadlines;
  std::set<std::string> subscriptions, groups;
  std::map<std::int32_t, std::string> waits;      // on competing channels, by op
  std::vector<std::string> given_back;            // payloads that went back to their channel
  std::vector<std::string> unread;                // payloads that nobody had received when the instance ended
  std::vector<std::vector<HistoryRow>> archive;   // of former generations
  int generation = 0, first_generation = 0;
  std::string note;
  std::vector<Outgoing> messages;
  std::map<std::string, ChildStart> children;     // that were started, by id
  std::vector<CancelRequest> cancels;             // of other instances
  std::vector<std::string> progress;              // every status value that was written, in order
  struct Task {
    TaskStart start;
    bool held = false, stopping = false;
  };
  std::map<std::int32_t, Task> tasks;             // queued, not ended, and wanted
  std::vector<std::int32_t> tasks_left;           // taken back, nobody waits for their end
  std::vector<std::string> children_left;         // the same, ids of children
  std::vector<TaskStart> queued;                  // every one, in order
  std::map<std::string, OutboxRow> outbox;
  Status status = Status::running;
  std::string stuck;            // why it was parked
  std::int64_t clock_us = 1'700'000'000'000'000;
  int commits = 0;

  [[nodiscard]] const std::string& id() const { return instance_id_; }
  [[nodiscard]] const std::string& workflow() const { return workflow_; }
  [[nodiscard]] std::string result() const { return history.empty() ? "" : history.back().data; }
  [[nodiscard]] std::string told(bool with_data = true) const { return told_lines(history, with_data); }
  [[nodiscard]] virtual const Registry& registry() const = 0;

 protected:
  // ---- who carries activities out ----
  struct Ended {
    ActivityStart start;
    AttemptResult result;
  };
  virtual void begin(const ActivityStart& start) = 0;           // after the commit that asked for it
  // One whose attempt is over, if the run still waits for it. another: since the last commit one has ended already.
  virtual std::optional<Ended> next_ended(bool another) = 0;
  [[nodiscard]] virtual bool any_ended() const { return false; }  // a reason to turn, without anything in the inbox
  virtual void stop(std::int32_t) {}                            // nobody waits for it any more
  virtual void lost() = 0;                                      // the run is out of memory: what was under way is lost

  // ---- what leaves ----
  virtual bool may_subscribe(const SubscriptionChange&) { return true; }  // false: and it has put a row `refused`
  virtual void returned(const InboxRow&) {}                     // a message for its competing channel
  virtual void committed(const Output&) {}
  virtual void death() { lose(true); }
  virtual void wrong(const std::string& what) const = 0;

  [[nodiscard]] bool awaits(std::int32_t op) const { return run_ != nullptr && run_->awaits(op); }
  [[nodiscard]] bool stoppable(std::int32_t op) const { return run_ != nullptr && run_->stoppable(op); }
  [[nodiscard]] bool asked_to_end() const;  // a cancellation, or the end of its time, is in the inbox

 private:
  struct Died {};
  void point();
  void turn();
  Result<std::unique_ptr<Run>> rebuilt() const;
  std::vector<InboxRow> unseen() const;
  std::vector<InboxRow> left_seen(const std::string& channel, std::int64_t after, bool& all) const;
  std::vector<Mail>::iterator mail(std::int64_t id);
  void commit(const Output& output);
  void commit_inbox(const Output& output);
  void commit_waits(const Output& output);
  void commit_tasks(const Output& output);
  void next_generation();
  void park(const std::string& why);
  void drop_run();
  bool task_ended(std::int32_t op, const std::string& status, const std::string& key, const std::string& value);
  void expect(bool holds, const std::string& what) const {
    if (!holds) wrong(what);
  }
  [[nodiscard]] bool rests() const;  // it keeps its lease and waits for what is under way; all else it has been told

  std::unique_ptr<Run> run_;
  std::string instance_id_, workflow_;
  std::set<std::int32_t> fired_;
  bool lingers_ = false;
  std::int64_t delivered_ = 0;
  std::int64_t last_id_ = 0, last_message_ = 0;
};

}  // namespace romancy::resumer
