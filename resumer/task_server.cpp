#include "resumer/task_server.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "common/base/log.hpp"
#include "common/base/test_point.hpp"
#include "resumer/lease.hpp"
#include "sql/resumer.hpp"

namespace romancy::resumer {

using namespace std::chrono_literals;

// Between the attempt's thread, which tells, and the loop, which sends.
class TaskServer::Details : public detail::TaskDetails {
 public:
  Details(std::optional<std::string> former, std::function<void()> told) : former_(std::move(former)), told_(std::move(told)) {}

  void keep(std::string json) override {
    const std::lock_guard lock(mutex_);
    const bool first = !fresh_;
    fresh_ = std::move(json);
    if (first && told_) told_();
  }
  [[nodiscard]] const std::optional<std::string>& former() const override { return former_; }

  std::optional<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(fresh_, std::nullopt);
  }
  void put_back(std::optional<std::string> json) {  // it could not be sent
    const std::lock_guard lock(mutex_);
    if (!fresh_) fresh_ = std::move(json);
  }
  [[nodiscard]] bool waiting() const {
    const std::lock_guard lock(mutex_);
    return fresh_.has_value();
  }
  // Nobody sends any more: a function that does not return may outlive its task.
  void close() {
    const std::lock_guard lock(mutex_);
    told_ = nullptr;
  }

 private:
  const std::optional<std::string> former_;
  mutable std::mutex mutex_;
  std::optional<std::string> fresh_;
  std::function<void()> told_;
};

struct TaskServer::Held {
  Held() = default;
  ~Held() {
    if (details) details->close();
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  std::shared_ptr<Details> details;
  Id id = 0;
  std::int64_t token = 0;
  std::string instance_id;
  ActivityStart start;
  std::chrono::microseconds lease{};
  std::shared_ptr<std::atomic<bool>> begun = std::make_shared<std::atomic<bool>>(false);
  std::stop_source stop;
  std::optional<ActivityOutcome> outcome;  // it has ended, and this is not written yet
  bool writing = false, given_back = false, beating = false;
  io::Alarms::Id alarm = 0;
};

TaskServer::TaskServer(io::Loop& loop, pg::Conn& conn, const Registry& registry, const proc::Config& config,
                       std::string worker, Handlers handlers)
    : loop_(loop),
      conn_(conn),
      registry_(registry),
      worker_(std::move(worker)),
      threads_(static_cast<std::size_t>(config.activity_threads)),
      handlers_(std::move(handlers)),
      queues_([&] {
        const auto all = registry.queues();
        return std::vector<std::pair<std::string, std::vector<std::string>>>(all.begin(), all.end());
      }()),
      alarms_(loop),
      sweeper_(loop, {.poll = config.workflow_interval, .fallback = config.fallback_interval, .spread = config.gap_spread},
               [this](proc::Why) { look(); }) {}

TaskServer::~TaskServer() = default;

void TaskServer::start() {
  if (draining_) return;
  started_ = true;
  for (auto& [key, task] : tasks_) {
    if (task->outcome) write(*task);
  }
  if (!queues_.empty()) sweeper_.start();
}

void TaskServer::stop() {
  started_ = false;
  sweeper_.stop();
}

void TaskServer::look() {
  const auto room = tasks_.size() < threads_ ? threads_ - tasks_.size() : 0;
  if (!started_ || draining_ || room == 0) return sweeper_.done(false);  // over() looks again
  first_ = (first_ + 1) % queues_.size();
  ask(0, static_cast<int>(std::min<std::size_t>(room, 1000)), false);
}

// One queue after the other, with the room that is left.
void TaskServer::ask(std::size_t nth, int room, bool more) {
  if (nth == queues_.size() || room == 0 || draining_ || !started_) return sweeper_.done(more && room > 0);
  const auto& [queue, names] = queues_[(first_ + nth) % queues_.size()];
  conn_.query(sql::resumer::claim_activity_tasks, pg::Params(queue, worker_, room, names),
              [this, nth, room, more](Result<pg::Rows> rows) {
                if (!rows) {
                  log::warn("claim_activity_tasks failed", {{"error", rows.error().text}});
                  return sweeper_.done(false);
                }
                if (rows->size() > 0) static_cast<void>(ROMANCY_TEST_POINT("resumer.task.claim.after"));
                for (int i = 0; i < rows->size(); ++i) begin(*rows, i);
                ask(nth + 1, room - rows->size(), more);
              });
}

void TaskServer::begin(const pg::Rows& rows, int row) {
  enum { kTask, kToken, kActivity, kInput, kAttempt, kKey, kInstance, kDetails, kLease };
  auto owned = std::make_unique<Held>();
  Held& task = *owned;
  task.id = rows.int64(row, kTask);
  task.token = rows.int64(row, kToken);
  task.instance_id = rows.str(row, kInstance);
  task.lease = std::chrono::microseconds(rows.int64(row, kLease));
  task.start.attempt = rows.int32(row, kAttempt);
  task.start.name = rows.str(row, kActivity);
  task.start.input = rows.is_null(row, kInput) ? "null" : rows.str(row, kInput);
  task.start.key = rows.str(row, kKey);
  tasks_.emplace(std::pair(task.id, task.token), std::move(owned));
  const auto id = task.id, token = task.token;
  task.details = std::make_shared<Details>(
      rows.is_null(row, kDetails) ? std::nullopt : std::optional(rows.str(row, kDetails)), [this, id, token] {
        loop_.post([this, id, token] {
          if (Held* told = held(id, token); told != nullptr && !told->beating) heartbeat(*told);
        });
      });
  if (draining_) return give_back(task);
  task.alarm = alarms_.set_in(task.lease / 3, [this, id, token] { beat(id, token); });
  const ActivityRef* ref = registry_.activity(task.start.name);
  handlers_.begin({.name = task.start.name,
                   .timeout = ref != nullptr ? ref->options().timeout : 0ms,
                   .stop = task.stop,
                   .work = [ref, start = task.start, instance = task.instance_id, stop = task.stop.get_token(),
                            begun = task.begun, details = task.details](const std::stop_token&) {
                     begun->store(true);
                     return run_attempt(ref, start, instance, stop, details.get());
                   },
                   .done = [this, id, token](std::optional<ActivityOutcome> outcome) { ended(id, token, std::move(outcome)); }});
}

void TaskServer::beat(Id id, std::int64_t token) {
  Held* task = held(id, token);
  if (task == nullptr || task->given_back) return;
  task->alarm = alarms_.set_in(task->lease / 3, [this, id, token] { beat(id, token); });
  if (task->outcome) return write(*task);
  heartbeat(*task);
}

void TaskServer::heartbeat(Held& task) {
  if (task.given_back || (!started_ && !draining_)) return;  // the next beat() comes back to it
  task.beating = true;
  auto details = task.details->take();
  conn_.query(sql::resumer::heartbeat_activity_task, pg::Params(task.id, task.token, details),
              [this, id = task.id, token = task.token, details](Result<pg::Rows> answer) {
                Held* asked = held(id, token);
                if (asked == nullptr) return;
                asked->beating = false;
                if (answer) {
                  if (answer->text(0, 0) != "ok") asked->stop.request_stop();
                  if (!asked->outcome && asked->details->waiting()) heartbeat(*asked);
                } else if (answer.error().kind == ErrorKind::retry || !details) {
                  log::warn("heartbeat_activity_task failed", {{"error", answer.error().text}});
                  asked->details->put_back(details);
                } else {  // what it told is refused: the lease must not suffer
                  log::warn("the details of a task are refused", {{"instance_id", asked->instance_id}, {"activity", asked->start.name}, {"error", answer.error().text}});
                  if (!asked->outcome) heartbeat(*asked);
                }
              });
}

void TaskServer::ended(Id id, std::int64_t token, std::optional<ActivityOutcome> outcome) {
  Held* task = held(id, token);
  const bool ok = outcome && outcome->ok;
  if (task != nullptr && !task->given_back) {
    if (task->details->waiting()) heartbeat(*task);  // in front of the outcome, on the same connection
    task->outcome = outcome ? std::move(*outcome) : timed_out(task->start, registry_.activity(task->start.name)->options().timeout);
    write(*task);
  } else if (task != nullptr) {
    over(id, token);
  }
  handlers_.ended(ok);
  handlers_.written();
}

void TaskServer::write(Held& task) {
  if (task.writing || (!started_ && !draining_)) return;  // start() comes back to it
  task.writing = true;
  static_cast<void>(ROMANCY_TEST_POINT("resumer.task.write.before"));
  const auto answered = [this, id = task.id, token = task.token](Result<pg::Rows> answer) {
    static_cast<void>(ROMANCY_TEST_POINT("resumer.task.write.after"));
    Held* written = held(id, token);
    if (written == nullptr) return;
    written->writing = false;
    if (answer) {
      if (!answer->boolean(0, 0)) log::info("the outcome of a task is wanted no more", {{"instance_id", written->instance_id}, {"activity", written->start.name}});
      return over(id, token);
    }
    log::warn("the outcome of a task could not be written", {{"instance_id", written->instance_id}, {"error", answer.error().text}});
    if (answer.error().kind == ErrorKind::retry) return;  // the next heartbeat, or a new connection
    if (!written->outcome->ok) return over(id, token);    // not even that: its lease runs out
    ActivityOutcome& outcome = *written->outcome;
    outcome.ok = false;
    outcome.error_type = "DataError";
    outcome.error_message = answer.error().text;
    outcome.terminal = true;
    write(*written);
  };
  const ActivityOutcome& outcome = *task.outcome;
  if (outcome.ok) {
    conn_.query(sql::resumer::complete_activity_task, pg::Params(task.id, task.token, outcome.data), answered);
  } else {
    conn_.query(sql::resumer::fail_activity_task,
                pg::Params(task.id, task.token, outcome.error_type, outcome.error_message, !outcome.terminal), answered);
  }
}

void TaskServer::give_back(Held& task) {
  task.given_back = true;
  alarms_.cancel(task.alarm);
  conn_.query(sql::resumer::release_activity_task, pg::Params(task.id, task.token),
              [this, id = task.id, token = task.token, begun = task.begun->load()](const Result<pg::Rows>& answer) {
                if (!answer) log::warn("a task could not be given back", {{"error", answer.error().text}});
                if (!begun) over(id, token);
              });
}

// Before it: the pool forgets what has not begun.
void TaskServer::drain() {
  draining_ = true;
  sweeper_.stop();
  for (auto& [key, task] : tasks_) {
    if (!task->begun->load()) give_back(*task);
  }
}

void TaskServer::hurry() {
  for (auto& [key, task] : tasks_) {
    task->stop.request_stop();
    if (!task->outcome && !task->given_back) give_back(*task);
  }
}

void TaskServer::over(Id id, std::int64_t token) {
  const auto found = tasks_.find({id, token});
  if (found == tasks_.end()) return;
  alarms_.cancel(found->second->alarm);
  tasks_.erase(found);
  if (started_ && !draining_) sweeper_.look_in(0ms);
  handlers_.written();
}

TaskServer::Held* TaskServer::held(Id id, std::int64_t token) {
  const auto found = tasks_.find({id, token});
  return found == tasks_.end() ? nullptr : found->second.get();
}

}  // namespace romancy::resumer
