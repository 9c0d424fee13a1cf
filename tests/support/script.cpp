#include "tests/support/script.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "resumer/history.hpp"

namespace romancy::test {

using namespace resumer;

namespace {

std::unique_ptr<Registry> registry_of(const std::vector<WorkflowRef>& workflows,
                                      const std::vector<ActivityRef>& activities) {
  auto made = Registry::make(workflows, activities);
  if (!made) throw std::invalid_argument(made.error().text);
  return std::make_unique<Registry>(std::move(*made));
}

}  // namespace

Script::Script(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities)
    : registry_(registry_of(workflows, activities)) {}

void Script::restart(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities) {
  run_.reset();
  registry_ = registry_of(workflows, activities);
  if (!stuck.empty()) {
    stuck.clear();
    status = Status::running;
  }
  put(InboxKind::recover, 0, {}, R"({"crash":false})");
}

void Script::start(const std::string& workflow, const std::string& input, const std::string& instance_id) {
  instance_id_ = instance_id;
  workflow_ = workflow;
  put(InboxKind::start, 0, {}, input);
}

void Script::put(InboxKind kind, std::int32_t op, const std::string& name, const std::string& data) {
  if (is_final(status)) return;
  inbox.push_back({{++last_id_, kind, op, name, data, {}, 0}, false});
}

// As the matcher does: the oldest wait on the channel gets it.
bool Script::distribute(const std::string& channel, const std::string& data) {
  const auto wait = std::find_if(waits.begin(), waits.end(), [&](const auto& entry) { return entry.second == channel; });
  if (wait == waits.end()) return false;
  const std::int32_t op = wait->first;
  waits.erase(wait);
  fired_.insert(op);  // its row is gone: nobody need find it
  message(channel, data);
  inbox.back().row.op = op;
  return true;
}

std::int64_t Script::message(const std::string& channel, const std::string& data, const std::string& metadata) {
  put(InboxKind::message, 0, channel, data);
  if (!inbox.empty()) {
    inbox.back().row.metadata = metadata;
    inbox.back().row.message_id = ++last_message_;
  }
  return last_message_;
}

void Script::cancel(const std::string& reason) {
  put(InboxKind::cancel, 0, {}, R"({"reason":")" + reason + R"("})");
}

void Script::child_completed(std::int32_t op, const std::string& output) {
  put(InboxKind::child_ended, op, {}, R"({"status":"completed","output":)" + output + "}");
}

void Script::child_failed(std::int32_t op, const std::string& type, const std::string& message, const std::string& how) {
  put(InboxKind::child_ended, op, {},
      R"({"status":")" + how + R"(","error":{"type":")" + type + R"(","message":")" + message + R"("}})");
}

bool Script::take_task(std::int32_t op) {
  const auto found = tasks.find(op);
  if (found == tasks.end()) return false;
  found->second.held = true;
  return true;
}

bool Script::task_completed(std::int32_t op, const std::string& result) {
  return task_ended(op, R"("status":"completed","result":)" + result);
}

bool Script::task_failed(std::int32_t op, const std::string& type, const std::string& message, int attempt) {
  return task_ended(op, R"("status":"failed","error":{"type":")" + type + R"(","message":")" + message +
                            R"(","attempt":)" + std::to_string(attempt) + "}");
}

bool Script::task_ended(std::int32_t op, const std::string& data) {
  const auto node = tasks.extract(op);
  if (!node) return false;
  put(InboxKind::task_ended, op, node.mapped().start.activity, R"({"generation":)" + std::to_string(generation) + "," + data + "}");
  return true;
}

bool Script::rests() const {
  const auto rows = unseen();
  return run_ != nullptr && lingers_ && (rows.empty() || rows.back().id <= delivered_);
}

bool Script::fire(std::int32_t op) {
  const auto node = deadlines.extract(op);
  if (!node) return false;
  fired_.insert(op);
  const Deadline& deadline = node.mapped();
  clock_us = std::max(clock_us, deadline.due_us);
  put(deadline.kind == TimerKind::sleep   ? InboxKind::timer
      : deadline.kind == TimerKind::retry ? InboxKind::retry
      : deadline.kind == TimerKind::expiry ? InboxKind::expired
                                          : InboxKind::timeout,
      op);
  return true;
}

bool Script::fire_next() {
  const auto first = std::min_element(deadlines.begin(), deadlines.end(),
                                      [](const auto& a, const auto& b) { return a.second.due_us < b.second.due_us; });
  return first != deadlines.end() && fire(first->first);
}

void Script::point() {
  if (points++ == die_at || (dies && dies())) throw Died{};
}

std::vector<InboxRow> Script::unseen() const {
  std::vector<InboxRow> rows;
  for (const Mail& mail : inbox) {
    if (!mail.seen && rows.size() < static_cast<std::size_t>(inbox_limit)) rows.push_back(mail.row);
  }
  return rows;
}

void Script::settle() {
  for (int turns = 0; stuck.empty() && !is_final(status) && !unseen().empty() && !rests(); ++turns) {
    if (turns > 100'000) throw std::logic_error("the run does not come to rest");
    try {
      turn();
    } catch (const Died&) {
      run_.reset();
      put(InboxKind::recover, 0, {}, R"({"crash":true})");
    }
  }
  if (is_final(status)) run_.reset();
}

void Script::park(const std::string& why) {
  stuck = why;
  status = Status::stuck;
  run_.reset();
}

namespace {

struct NoSql final : detail::SqlHost {
  Rows exec(std::string_view, const std::vector<std::optional<std::string>>&) override { return {{}, {}, 0}; }
  void control(const std::string&) override {}
  const std::string& schema() const override { return name; }
  std::string name = "none";
};

}  // namespace

AttemptResult Script::attempt(const ActivityStart& start) const {
  const ActivityRef& activity = *registry_->activity(start.name);
  if (activity.definition().kind() != detail::ActivityKind::transactional) {
    Attempt attempt(instance_id_, start.attempt, start.key, {});
    return activity.run(attempt, start.input);
  }
  NoSql sql;
  Transaction tx(instance_id_, start.attempt, start.key, {}, sql);
  try {
    const auto& definition = static_cast<const detail::TransactionalDefinition&>(activity.definition());
    return {.ok = true, .data = definition.call(tx, start.input)};
  } catch (...) {
    return detail::failed_attempt();
  }
}

// From a claim to the release of the lease.
void Script::turn() {
  const auto give = [&](Result<void> told) {
    if (!told) park(told.error().text);
    return told.has_value();
  };
  if (!run_) {
    auto made = Run::make(*registry_, {instance_id_, workflow_, generation, first_generation});
    if (!made) return park(made.error().text);
    run_ = std::move(*made);
    run_->left_behind(std::any_of(inbox.begin(), inbox.end(), [](const Mail& mail) { return mail.seen; }));
    run_->clock(clock_us);
    if (!give(run_->replay(history))) return;
    EXPECT_GE(run_->last_seq(), static_cast<std::int64_t>(history.size()));  // it may have gone on by itself
  }
  run_->clock(clock_us);
  delivered_ = last_id_;
  if (!give(run_->deliver(unseen()))) return;
  std::vector<ActivityStart> running;  // handed out, not ended
  for (;;) {
    Output output = run_->take();
    if (output.ask_seen) {
      EXPECT_TRUE(output.empty());
      EXPECT_FALSE(output.release);
      std::vector<InboxRow> rows;
      bool all = true;
      for (const Mail& mail : inbox) {
        if (!mail.seen || mail.row.kind != InboxKind::message || mail.row.name != *output.ask_seen ||
            mail.row.id <= output.seen_after) {
          continue;
        }
        if (rows.size() == static_cast<std::size_t>(seen_limit)) {
          all = false;
          break;
        }
        rows.push_back(mail.row);
      }
      if (!give(run_->seen(*output.ask_seen, rows, all))) return;
      continue;
    }
    EXPECT_TRUE(run_->under_way().empty() || !output.release);
    lingers_ = !output.release && run_->under_way().empty();
    point();
    commit(output);
    point();
    running.insert(running.end(), output.activities.begin(), output.activities.end());
    bool ended = false;
    while (!running.empty() && !(choose && ended)) {
      const auto next = running.begin() + static_cast<std::ptrdiff_t>(choose ? choose(running.size()) : 0);
      const ActivityStart start = *next;
      running.erase(next);
      const auto wanted = run_->under_way();
      if (std::find(wanted.begin(), wanted.end(), start.op) == wanted.end()) continue;  // taken back before it began
      attempts.push_back(start);
      if (on_activity) on_activity(start);
      const AttemptResult result = attempt(start);
      point();
      run_->clock(clock_us);
      if (result.ok && registry_->activity(start.name)->definition().kind() == detail::ActivityKind::transactional &&
          run_->last_seq() == static_cast<std::int64_t>(history.size())) {
        // Durable before the run is told, and nothing comes between.
        history.push_back({run_->last_seq() + 1, start.op, HistoryKind::activity_completed, start.name, result.data});
        point();
      } else if (const auto rows = unseen(); !rows.empty() && !give(run_->deliver(rows))) {
        return;  // as the engine does: what arrived meanwhile comes first when a hint made it look
      }
      if (!give(run_->activity_done({start.op, start.attempt, result.ok, result.data, result.error_type,
                                     result.error_message, result.terminal}))) {
        return;
      }
      ended = true;
    }
    if (output.recur) {
      run_.reset();
      return;
    }
    if (ended || !run_->under_way().empty()) continue;
    if (is_final(status)) return;
    if (rests()) return;
    if (const auto rows = unseen(); !rows.empty()) {
      delivered_ = last_id_;
      if (!give(run_->deliver(rows))) return;
      continue;
    }
    if (evict_always) run_.reset();
    return;
  }
}

void Script::commit(const Output& output) {
  ++commits;
  const auto exists = [&](std::int64_t id) {
    return std::find_if(inbox.begin(), inbox.end(), [&](const Mail& mail) { return mail.row.id == id; });
  };
  for (const HistoryRow& row : output.history) {
    if (row.seq <= static_cast<std::int64_t>(history.size())) {  // that of a transactional activity
      EXPECT_EQ(row.op, history.at(static_cast<std::size_t>(row.seq) - 1).op);
      continue;
    }
    EXPECT_EQ(row.seq, static_cast<std::int64_t>(history.size()) + 1);
    EXPECT_TRUE(Json::accept(row.data)) << row.data;
    history.push_back(row);
  }
  for (const std::int64_t id : output.consumed) {
    const auto mail = exists(id);
    if (mail == inbox.end()) ADD_FAILURE() << "inbox row " << id << " is consumed twice";
    else inbox.erase(mail);
  }
  for (const std::int64_t id : output.seen) {
    const auto mail = exists(id);
    if (mail == inbox.end() || mail->seen)
      ADD_FAILURE() << "inbox row " << id << " is reported as seen twice, or after its end";
    else mail->seen = true;
  }
  for (const std::int64_t id : output.given_back) {
    const auto mail = exists(id);
    if (mail == inbox.end()) {
      ADD_FAILURE() << "inbox row " << id << " is given back, but it is gone";
      continue;
    }
    EXPECT_NE(mail->row.op, 0) << "inbox row " << id << " did not come from a competing channel";
    given_back.push_back(mail->row.data);
    inbox.erase(mail);
  }
  for (const std::int32_t op : output.timers_over) {
    const bool waited = waits.erase(op) == 1;
    EXPECT_TRUE(deadlines.erase(op) == 1 || waited || fired_.contains(op))
        << "operation " << op << " has no deadline that could be over";
    fired_.insert(op);  // a run rebuilt behind a transactional activity may say so again
  }
  for (const GroupChange& change : output.groups) {
    if (change.on) groups.insert(change.group);
    else groups.erase(change.group);
  }
  for (const TimerStart& timer : output.timers) {
    const std::int64_t after = timer.after ? timer.after->count() : 0;
    EXPECT_TRUE(deadlines.emplace(timer.op, Deadline{timer.kind, clock_us + after, timer.at}).second)
        << "deadline " << timer.op;
  }
  for (const SubscriptionChange& change : output.subscriptions) {
    if (change.on) {
      subscriptions.insert(change.channel);
      continue;
    }
    subscriptions.erase(change.channel);
    std::erase_if(waits, [&](const auto& wait) { return wait.second == change.channel; });
  }
  for (const MessageWait& wait : output.waits) {
    if (!subscriptions.contains(wait.channel)) continue;
    EXPECT_TRUE(waits.emplace(wait.op, wait.channel).second) << wait.op;
  }
  messages.insert(messages.end(), output.messages.begin(), output.messages.end());
  for (const ChildStart& child : output.children) {
    EXPECT_TRUE(children.emplace(child.id, child).second || child.op == 0) << child.id << " is started twice";
  }
  cancels.insert(cancels.end(), output.cancels.begin(), output.cancels.end());
  if (output.progress) progress.push_back(*output.progress);
  for (const TaskStart& task : output.tasks) {
    EXPECT_TRUE(tasks.emplace(task.op, Task{task}).second) << "task " << task.op << " is queued twice";
    queued.push_back(task);
  }
  for (const TaskStop& stop : output.task_stops) {
    const auto found = tasks.find(stop.op);
    if (found == tasks.end()) continue;  // it has just ended
    if (found->second.held && stop.wanted) {
      found->second.stopping = true;
    } else {
      if (stop.wanted) {
        put(InboxKind::task_ended, stop.op, found->second.start.activity,
            R"({"generation":)" + std::to_string(generation) + R"(,"status":"withdrawn"})");
      }
      if (!stop.wanted) tasks_left.push_back(stop.op);
      tasks.erase(found);
    }
  }
  for (const OutboxRow& row : output.outbox) EXPECT_TRUE(outbox.emplace(row.event_id, row).second) << row.event_id;
  status = output.status;
  note = output.note;
  if (output.recur) {
    tasks.clear();
    EXPECT_EQ(status, Status::running);
    ASSERT_FALSE(history.empty());
    EXPECT_EQ(history.back().kind, HistoryKind::recurred);
    const std::string input = history.back().data;
    archive.push_back(std::exchange(history, {}));
    deadlines.clear();
    waits.clear();
    fired_.clear();
    std::erase_if(inbox, [](const Mail& mail) {
      return mail.row.kind == InboxKind::timer || mail.row.kind == InboxKind::timeout ||
             mail.row.kind == InboxKind::retry || mail.row.kind == InboxKind::expired ||
             mail.row.kind == InboxKind::refused || mail.row.kind == InboxKind::child_ended ||
             mail.row.kind == InboxKind::task_ended;
    });
    ++generation;
    put(InboxKind::start, generation, {}, input);
  }
  if (is_final(status)) {
    for (const Mail& mail : inbox) {
      if (mail.row.kind == InboxKind::message) (mail.row.op != 0 ? given_back : unread).push_back(mail.row.data);
    }
    inbox.clear();
    deadlines.clear();
    subscriptions.clear();
    waits.clear();
    groups.clear();
  }
}

std::string Script::told(bool with_data) const {
  std::string text;
  for (const HistoryRow& row : history) {
    text +=
        std::to_string(row.seq) + " " + describe(row.kind, row.op, row.name) + (with_data ? " " + row.data : "") + "\n";
  }
  return text;
}

}  // namespace romancy::test
