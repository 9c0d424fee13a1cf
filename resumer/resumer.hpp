// Resumer: claims instances that have something to do, runs their coroutines, and commits what they did.
//
// One loop, one connection, one session. A turn of an instance:
//
//     claim -> (memory, or history -> replay) -> deliver inbox -> take -> commit -> activities -> deliver -> take -> ...
//                                                                    \-> released: suspended, kept in RunCache
//
// Promises
//   - An activity starts only after everything before it is durable (its predecessors' results, subscriptions, sent
//     events). The one exception is the first activity of an instance that did nothing else yet: the start row is
//     durable already, and telling it again tells the same.
//   - A run that lost its lease writes nothing: every commit carries (session, token). Its activities may still end;
//     their outcome is dropped.
//   - What arrives while an instance is held is seen at its next commit; a hint for it makes an empty commit at once.
// Sessions: a new one after every (re)connect, naming the former ones so that their instances are free at once. All
//   runs in memory are dropped then: the database may know less or more than they do.
// Poison: an instance that killed two workers is suspected. It comes in a claim of its own, waits until nothing else is in
//   hand, and runs while nothing is claimed; both for at most one session time-out. Five deaths park it.
// Bounds: worker.max_in_flight leases (no claim beyond), worker.cache_instances suspended, worker.activity_threads.
// Failure: the database away: not ready, no leases, reconnect for ever. A mismatch in replay parks the instance.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/io/alarm.hpp"
#include "common/pg/kept_conn.hpp"
#include "common/proc/hub_client.hpp"
#include "common/proc/process.hpp"
#include "common/proc/sweeper.hpp"
#include "resumer/activity_pool.hpp"
#include "resumer/async_activities.hpp"
#include "resumer/commit_queue.hpp"
#include "resumer/observer.hpp"
#include "resumer/registry.hpp"
#include "resumer/run_cache.hpp"
#include "resumer/run_store.hpp"
#include "resumer/task_server.hpp"
#include "resumer/transaction.hpp"

namespace romancy::resumer {

class Resumer final : public proc::Service {
 public:
  // version: of the program's code; empty: none.
  Resumer(proc::Process& process, const Registry& registry, std::shared_ptr<Hooks> hooks = {}, std::string version = {});
  ~Resumer() override;

  void start() override;
  void drain(std::function<void()> done) override;
  void limited() override;

  struct Lease;      // one instance we hold

 private:
  struct Attempting; // one activity attempt under way
  struct HeldBack;   // an outcome that has to wait
  struct AfterCommit {  // what waits for a commit's answer
    std::vector<ActivityStart> activities;
    bool finished = false, recurred = false;
    bool matchable = false;  // a wait or a message of a competing channel was registered: somebody has to match it
    std::int64_t last_seq = 0;
    Status status = Status::running;
    std::vector<HistoryRow> told;  // for the program's hooks
    std::string parked;
  };
  using Leases = std::unordered_map<std::string, std::unique_ptr<Lease>>;

  // session.cpp: the connection's and the session's life
  void connected();
  void start_again(const Error& why);
  void begin_session();
  void session_started(const std::vector<Route>& routes);
  void session_lost(const Error& why);
  void beat();
  void hurry();
  void end_drain();

  // resumer.cpp: the instances' life
  void look(proc::Why why);
  void claimed(Claim claim);
  void end_once();
  void adopt(Claimed claimed);
  void begin(Lease& lease, Claimed claimed);
  void suspect_due();
  void clear_suspect();
  void replay(Lease& lease, const std::vector<HistoryRow>& history, const std::vector<InboxRow>& inbox);
  void deliver(Lease& lease, const std::vector<InboxRow>& inbox);
  void step(Lease& lease, bool look = false);  // look: commit even if there is nothing to write
  void ask_seen(Lease& lease, const std::string& channel, std::int64_t after_id);
  void commit(Lease& lease, Output output, std::string note = {});
  void committed(const std::string& instance_id, std::int64_t token, AfterCommit after, Result<Committed> answer);
  void start_activities(Lease& lease, std::vector<ActivityStart> activities);
  void stop_activities(Lease& lease, const std::vector<std::int32_t>& ops);
  void run_activity(const std::string& instance_id, std::int64_t token, std::int32_t op);
  void attempt_over(const std::string& instance_id, std::int64_t token, std::uint64_t id, const ActivityOutcome& outcome);
  void activity_done(const std::string& instance_id, std::int64_t token, const ActivityOutcome& outcome);
  Attempting* attempting(const std::string& instance_id, std::int64_t token, std::int32_t op, std::uint64_t id);
  void observe(Lease& lease, const AfterCommit& after) const;
  // transaction_commit.cpp
  void run_transactional(const std::string& instance_id, std::int64_t token, Attempting& attempt,
                         const ActivityRef& activity);
  void transaction_ready(const std::string& instance_id, std::int64_t token, std::int32_t op, std::uint64_t id,
                         const std::shared_ptr<Handover>& handover);
  void next_transaction(Lease& lease);
  void transaction_over(const std::string& instance_id, std::int64_t token, std::int32_t op, std::uint64_t id,
                        TransactionEnd end, ActivityOutcome outcome);

  void park(Lease& lease, const std::string& why);
  void fail_on_data(Lease& lease, const Error& why);
  void look_at_held(const std::string& instance_id);
  void look_at_all_held();
  void forget(const std::string& instance_id);
  Lease* held(const std::string& instance_id, std::int64_t token);
  void set_clock(std::int64_t clock_us);
  [[nodiscard]] std::int64_t clock_us() const;

  proc::Process& process_;
  const proc::Config& config_;
  proc::Slot slot_;
  const Registry& registry_;
  const std::string version_;
  const Observer observer_;
  pg::KeptConn conn_;
  RunStore store_;
  CommitQueue commits_;
  RunCache cache_;
  proc::HubClient hub_;
  proc::Sweeper sweeper_;
  io::Alarm heart_;

  std::int64_t session_ = 0;              // 0: none
  std::vector<std::int64_t> former_;      // sessions of this process that may still hold leases
  std::vector<std::int64_t> routes_;
  std::vector<std::string> marks_;        // low-water mark of each route; reset by polls and resyncs
  Leases leases_;
  std::chrono::milliseconds skip_delay_{1};
  bool starved_ = false;                  // a look was refused for want of room
  std::string suspect_;                   // an instance that killed two workers: nothing else is claimed. Empty: none
  std::unique_ptr<Claimed> suspect_waits_;  // .. and has not begun: others are in hand
  io::Alarm suspect_alarm_;               // the end of that wait; then of being alone
  bool hears_ = false;                    // notifications come through
  std::chrono::steady_clock::time_point held_looked_at_{};
  std::int64_t clock_offset_us_ = 0;      // database clock minus our monotonic clock
  bool connected_before_ = false;
  std::function<void()> drained_;         // set: draining
  bool ending_ = false, hurried_ = false;
  io::Alarm hurry_;                       // draining: the activities had their time
  std::chrono::steady_clock::time_point beat_answered_{};
  std::size_t running_ = 0;               // activity attempts whose outcome is awaited
  std::uint64_t last_attempt_ = 0;
  AsyncActivities async_;
  TaskServer tasks_;                      // queued activities that this program serves
  std::unique_ptr<ActivityPool> pool_;    // last: its threads end first
};

// The channels (and the group) a program with these workflows, of this version, subscribes to.
proc::Subscription subscription_of(const Registry& registry, const std::string& version = {});

}  // namespace romancy::resumer
