// TaskServer: carries out queued activities of the queues for which this program registers some.
//
// A look claims as many tasks as there are threads without one, queue by queue; each runs on the pool, and while it does
// its lease is renewed three times in its length, and whenever it tells how far it has come. Its outcome is written as soon as there is a connection: written twice
// it changes nothing, and once the lease is lost it is dropped. Tasks belong to no session: a new one changes nothing.
//
// Told that it shall stop (the workflow was cancelled, or does not wait any more): its stop token is set; what comes of it
// is written all the same, the database knows who wants it. Draining: what has not begun is given back at once, what has
// is finished; hurried, it is given back too, and asked to stop.
// Failure: the database away: tasks go on; who is away for longer than their leases finds them lost.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/alarms.hpp"
#include "common/pg/conn.hpp"
#include "common/proc/config.hpp"
#include "common/proc/sweeper.hpp"
#include "resumer/activity_pool.hpp"
#include "resumer/registry.hpp"

namespace romancy::resumer {

class TaskServer {
 public:
  struct Handlers {
    std::function<void(ActivityPool::Job)> begin;  // give it to the pool
    std::function<void(bool ok)> ended;            // a function has returned, or its time was over
    std::function<void()> written;                 // an outcome is durable, or of no use
  };
  TaskServer(io::Loop& loop, pg::Conn& conn, const Registry& registry, const proc::Config& config, std::string worker,
             Handlers handlers);
  ~TaskServer();
  TaskServer(const TaskServer&) = delete;
  TaskServer& operator=(const TaskServer&) = delete;

  void start();  // the database is there
  void stop();   // and is not
  void hint() { sweeper_.hint(); }
  void live(bool heard) { sweeper_.live(heard); }
  void resync(std::string_view why) { sweeper_.resync(why); }
  void drain();
  void hurry();
  [[nodiscard]] bool idle() const { return tasks_.empty(); }  // no function runs, and every outcome is written

 private:
  struct Held;
  class Details;
  using Id = std::int64_t;
  void look();
  void ask(std::size_t queue, int room, bool more);
  void begin(const pg::Rows& rows, int row);
  void beat(Id id, std::int64_t token);
  void heartbeat(Held& task);
  void ended(Id id, std::int64_t token, std::optional<ActivityOutcome> outcome);
  void write(Held& task);
  void give_back(Held& task);
  void over(Id id, std::int64_t token);
  Held* held(Id id, std::int64_t token);

  io::Loop& loop_;
  pg::Conn& conn_;
  const Registry& registry_;
  const std::string worker_;
  const std::size_t threads_;
  const Handlers handlers_;
  const std::vector<std::pair<std::string, std::vector<std::string>>> queues_;
  std::size_t first_ = 0;  // queue of the next look: they take turns
  bool started_ = false, draining_ = false;
  std::map<std::pair<Id, std::int64_t>, std::unique_ptr<Held>> tasks_;  // by token too: what was lost may come back
  io::Alarms alarms_;
  proc::Sweeper sweeper_;
};

}  // namespace romancy::resumer
