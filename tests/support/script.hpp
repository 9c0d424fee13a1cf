// Script: a database and an engine of one instance, in memory, for tests of the replay core.
//
// The database part holds what commits wrote: history, inbox, deadlines, subscriptions, messages, outbox. The engine
// part claims, replays, delivers, takes, commits, runs activities, as resumer/resumer.cpp does. A commit is atomic.
//
// The process may die at every *point*: before a commit, after it, and after an activity ran whose result is not yet
// known. Points are counted; die_at(n) kills the process at the n-th. The run in memory is gone then, a recover row is
// in the inbox, and the next settle() rebuilds the run from what was committed.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "resumer/registry.hpp"
#include "resumer/run.hpp"

namespace romancy::test {

struct Deadline {
  resumer::TimerKind kind{};
  std::int64_t due_us = 0;
  std::optional<std::string> at;
};

class Script {
 public:
  Script(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities);

  // ---- what others do; nothing runs until settle() ----
  void start(const std::string& workflow, const std::string& input, const std::string& instance_id = "i-1");
  std::int64_t message(const std::string& channel, const std::string& data, const std::string& metadata = "{}");
  bool distribute(const std::string& channel, const std::string& data);  // over a competing channel; false: no wait
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
  void put(resumer::InboxKind kind, std::int32_t op = 0, const std::string& name = {}, const std::string& data = {});

  // ---- the engine ----
  void settle();                // until nothing is left to do
  void evict() { run_.reset(); }
  void restart(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities);  // another program takes over

  bool evict_always = false;    // suspended runs are never kept
  int inbox_limit = 100;
  int seen_limit = 100;
  std::optional<int> die_at;
  std::function<bool()> dies;   // asked at every point
  // Which of so many activities under way ends next; a commit comes between them. Not set: all end, then one commit.
  std::function<std::size_t(std::size_t)> choose;
  int points = 0;               // passed so far
  std::function<void(const resumer::ActivityStart&)> on_activity;  // before each attempt

  // ---- what the database holds ----
  struct Mail {
    resumer::InboxRow row;
    bool seen = false;
  };
  std::vector<resumer::HistoryRow> history;
  std::vector<Mail> inbox;
  std::map<std::int32_t, Deadline> deadlines;
  std::set<std::string> subscriptions, groups;
  std::map<std::int32_t, std::string> waits;      // on competing channels, by op
  std::vector<std::string> given_back;            // payloads that went back to their channel
  std::vector<std::string> unread;                // payloads that nobody had received when the instance ended
  std::vector<std::vector<resumer::HistoryRow>> archive;  // of former generations
  int generation = 0, first_generation = 0;
  std::string note;
  std::vector<resumer::Outgoing> messages;
  std::map<std::string, resumer::ChildStart> children;  // that were started, by id
  std::vector<resumer::CancelRequest> cancels;          // of other instances
  std::vector<std::string> progress;                    // every status value that was written, in order
  struct Task {
    resumer::TaskStart start;
    bool held = false, stopping = false;
  };
  std::map<std::int32_t, Task> tasks;                   // queued, not ended, and wanted
  std::vector<std::int32_t> tasks_left;                 // taken back, nobody waits for their end
  std::vector<resumer::TaskStart> queued;               // every one, in order
  std::map<std::string, resumer::OutboxRow> outbox;
  resumer::Status status = resumer::Status::running;
  std::string stuck;            // why it was parked
  std::int64_t clock_us = 1'700'000'000'000'000;
  int commits = 0;
  std::vector<resumer::ActivityStart> attempts;  // every one, in order

  [[nodiscard]] std::string result() const { return history.empty() ? "" : history.back().data; }
  // One line a row: "2 activity_completed 'charge' (operation 1) {..}"
  [[nodiscard]] std::string told(bool with_data = true) const;
  [[nodiscard]] const resumer::Registry& registry() const { return *registry_; }

 private:
  struct Died {};
  void point();
  AttemptResult attempt(const resumer::ActivityStart& start) const;
  void turn();
  std::vector<resumer::InboxRow> unseen() const;
  void commit(const resumer::Output& output);
  void park(const std::string& why);

  std::unique_ptr<resumer::Registry> registry_;
  std::unique_ptr<resumer::Run> run_;
  std::string instance_id_, workflow_;
  std::set<std::int32_t> fired_;
  bool task_ended(std::int32_t op, const std::string& data);
  [[nodiscard]] bool rests() const;  // it keeps its lease and waits for the end of a task; all else it has been told
  bool lingers_ = false;
  std::int64_t delivered_ = 0;
  std::int64_t last_id_ = 0, last_message_ = 0;
};

}  // namespace romancy::test
