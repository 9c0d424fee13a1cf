#include "resumer/memory_instance.hpp"

#include <algorithm>
#include <stdexcept>

#include "common/base/json.hpp"
#include "resumer/history.hpp"
#include "resumer/sdk_names.hpp"

namespace romancy::resumer {

std::string told_lines(const std::vector<HistoryRow>& rows, bool with_data) {
  std::string text;
  for (const HistoryRow& row : rows) {
    text +=
        std::to_string(row.seq) + " " + describe(row.kind, row.op, row.name) + (with_data ? " " + row.data : "") + "\n";
  }
  return text;
}

// ------------------------------------------------------------------------------------------------------ what others do

void MemoryInstance::start(const std::string& workflow, const std::string& input, const std::string& instance_id) {
  instance_id_ = instance_id;
  workflow_ = workflow;
  put(InboxKind::start, 0, {}, input);
}

void MemoryInstance::put(InboxKind kind, std::int32_t op, const std::string& name, const std::string& data) {
  if (is_final(status)) return;
  inbox.push_back({{++last_id_, kind, op, name, data, {}, 0}, false});
}

void MemoryInstance::lose(bool crash) {
  drop_run();
  put(InboxKind::recover, 0, {}, crash ? R"({"crash":true})" : R"({"crash":false})");
}

void MemoryInstance::resume() {
  if (stuck.empty()) return;
  stuck.clear();
  status = Status::running;
}

// As the matcher does: the oldest wait on the channel gets it.
bool MemoryInstance::distribute(const std::string& channel, const std::string& data) {
  const auto wait = std::find_if(waits.begin(), waits.end(), [&](const auto& entry) { return entry.second == channel; });
  return wait != waits.end() && distribute_to(wait->first, data, "{}", 0);
}

bool MemoryInstance::distribute_to(std::int32_t op, const std::string& data, const std::string& metadata,
                                   std::int64_t message_id) {
  const auto wait = waits.extract(op);
  if (!wait) return false;
  fired_.insert(op);  // its row is gone: nobody need find it
  message(wait.mapped(), data, metadata, message_id);
  inbox.back().row.op = op;
  return true;
}

std::int64_t MemoryInstance::message(const std::string& channel, const std::string& data, const std::string& metadata,
                                     std::int64_t message_id) {
  if (is_final(status)) return 0;
  put(InboxKind::message, 0, channel, data);
  inbox.back().row.metadata = metadata;
  inbox.back().row.message_id = message_id != 0 ? message_id : ++last_message_;
  return inbox.back().row.message_id;
}

void MemoryInstance::cancel(const std::string& reason) {
  put(InboxKind::cancel, 0, {}, dump_json(Json{{"reason", reason}}));
}

void MemoryInstance::child_completed(std::int32_t op, const std::string& output) {
  put(InboxKind::child_ended, op, {}, R"({"status":"completed","output":)" + output + "}");
}

void MemoryInstance::child_failed(std::int32_t op, const std::string& type, const std::string& message,
                                  const std::string& how) {
  put(InboxKind::child_ended, op, {},
      dump_json(Json{{"status", how}, {"error", {{"type", type}, {"message", message}}}}));
}

bool MemoryInstance::take_task(std::int32_t op) {
  const auto found = tasks.find(op);
  if (found == tasks.end()) return false;
  found->second.held = true;
  return true;
}

bool MemoryInstance::task_completed(std::int32_t op, const std::string& result) {
  return task_ended(op, "completed", "result", result);
}

bool MemoryInstance::task_failed(std::int32_t op, const std::string& type, const std::string& message, int attempt) {
  return task_ended(op, "failed", "error", dump_json(Json{{"type", type}, {"message", message}, {"attempt", attempt}}));
}

bool MemoryInstance::task_ended(std::int32_t op, const std::string& how, const std::string& key, const std::string& value) {
  const auto node = tasks.extract(op);
  if (!node) return false;
  put(InboxKind::task_ended, op, node.mapped().start.activity,
      R"({"generation":)" + std::to_string(generation) + R"(,"status":")" + how + R"(",")" + key + R"(":)" + value + "}");
  return true;
}

bool MemoryInstance::fire(std::int32_t op) {
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

bool MemoryInstance::fire_next() {
  const auto first = std::min_element(deadlines.begin(), deadlines.end(),
                                      [](const auto& a, const auto& b) { return a.second.due_us < b.second.due_us; });
  return first != deadlines.end() && fire(first->first);
}

// ---------------------------------------------------------------------------------------------------------- the engine

void MemoryInstance::point() {
  if (points++ == die_at || (dies && dies())) throw Died{};
}

bool MemoryInstance::rests() const {
  const auto rows = unseen();
  return run_ != nullptr && lingers_ && (rows.empty() || rows.back().id <= delivered_);
}

bool MemoryInstance::asked_to_end() const {
  return std::any_of(inbox.begin(), inbox.end(), [](const Mail& one) {
    return one.row.kind == InboxKind::cancel || one.row.kind == InboxKind::expired;
  });
}

std::vector<InboxRow> MemoryInstance::unseen() const {
  std::vector<InboxRow> rows;
  for (const Mail& one : inbox) {
    if (!one.seen && rows.size() < static_cast<std::size_t>(inbox_limit)) rows.push_back(one.row);
  }
  return rows;
}

std::vector<InboxRow> MemoryInstance::left_seen(const std::string& channel, std::int64_t after, bool& all) const {
  std::vector<InboxRow> rows;
  all = true;
  for (const Mail& one : inbox) {
    if (!one.seen || one.row.kind != InboxKind::message || one.row.name != channel || one.row.id <= after) continue;
    if (rows.size() == static_cast<std::size_t>(seen_limit)) {
      all = false;
      break;
    }
    rows.push_back(one.row);
  }
  return rows;
}

void MemoryInstance::settle() {
  for (int turns = 0; stuck.empty() && !is_final(status) && ((!unseen().empty() && !rests()) || any_ended()); ++turns) {
    if (turns > 100'000) throw std::logic_error("the run does not come to rest");
    try {
      turn();
    } catch (const Died&) {
      death();
    }
  }
  if (is_final(status)) drop_run();
}

void MemoryInstance::park(const std::string& why) {
  stuck = why;
  status = Status::stuck;
  drop_run();
}

void MemoryInstance::drop_run() {
  run_.reset();
  lost();
}

Result<std::unique_ptr<Run>> MemoryInstance::rebuilt() const {
  auto made = Run::make(registry(), {instance_id_, workflow_, generation, first_generation});
  if (!made) return made;
  (*made)->left_behind(std::any_of(inbox.begin(), inbox.end(), [](const Mail& one) { return one.seen; }));
  (*made)->clock(clock_us);
  if (auto replayed = (*made)->replay(history); !replayed) return tl::unexpected(std::move(replayed.error()));
  // It may have gone on by itself.
  expect((*made)->last_seq() >= static_cast<std::int64_t>(history.size()), "a rebuilt run knows less than its history");
  return made;
}

std::string MemoryInstance::doing() const {
  if (run_) return run_->doing();
  const auto made = rebuilt();
  return made ? (*made)->doing() : made.error().text;
}

// From a claim to the release of the lease.
void MemoryInstance::turn() {
  const auto give = [&](Result<void> told) {
    if (!told) park(told.error().text);
    return told.has_value();
  };
  if (!run_) {
    auto made = rebuilt();
    if (!made) return park(made.error().text);
    run_ = std::move(*made);
  }
  run_->clock(clock_us);
  delivered_ = last_id_;
  if (!give(run_->deliver(unseen()))) return;
  for (;;) {
    Output output = run_->take();
    if (output.ask_seen) {
      expect(output.empty() && !output.release, "an output that asks for rows says something else too");
      bool all = true;
      const auto rows = left_seen(*output.ask_seen, output.seen_after, all);
      if (!give(run_->seen(*output.ask_seen, rows, all))) return;
      continue;
    }
    expect(run_->under_way().empty() || !output.release, "the lease is released while activities are under way");
    lingers_ = !output.release;
    point();
    commit(output);
    point();
    for (const std::int32_t op : output.stopped) stop(op);
    for (const ActivityStart& activity : output.activities) begin(activity);
    bool ended = false;
    while (auto one = next_ended(ended)) {
      const auto& [started, result] = *one;
      point();
      run_->clock(clock_us);
      const ActivityRef* known = registry().activity(started.name);
      if (result.ok && known != nullptr && known->definition().kind() == detail::ActivityKind::transactional &&
          run_->last_seq() == static_cast<std::int64_t>(history.size())) {
        // Durable before the run is told, and nothing comes between.
        history.push_back({run_->last_seq() + 1, started.op, HistoryKind::activity_completed, started.name, result.data});
        point();
      } else if (const auto rows = unseen(); !rows.empty() && !give(run_->deliver(rows))) {
        return;  // as the engine does: what arrived meanwhile comes first when a hint made it look
      }
      if (!give(run_->activity_done({started.op, started.attempt, result.ok, result.data, result.error_type,
                                     result.error_message, result.terminal, result.retryable}))) {
        return;
      }
      ended = true;
    }
    if (output.recur) return drop_run();
    if (ended) continue;
    if (is_final(status)) return;
    if (!rests()) {
      if (const auto rows = unseen(); !rows.empty()) {
        delivered_ = last_id_;
        if (!give(run_->deliver(rows))) return;
        continue;
      }
    }
    if (!evict_always) return;
    if (!lingers_) return drop_run();
    if (const auto beside = rebuilt(); !beside) park(beside.error().text);
    return;
  }
}

// ------------------------------------------------------------------------------------------------------------ a commit

std::vector<MemoryInstance::Mail>::iterator MemoryInstance::mail(std::int64_t id) {
  return std::find_if(inbox.begin(), inbox.end(), [&](const Mail& one) { return one.row.id == id; });
}

void MemoryInstance::commit(const Output& output) {
  ++commits;
  for (const HistoryRow& row : output.history) {
    const std::string seq = "history row " + std::to_string(row.seq);
    if (row.seq <= static_cast<std::int64_t>(history.size())) {  // that of a transactional activity
      expect(row.op == history.at(static_cast<std::size_t>(row.seq) - 1).op, seq + " is written twice");
      continue;
    }
    expect(row.seq == static_cast<std::int64_t>(history.size()) + 1, seq + " leaves a gap");
    expect(Json::accept(row.data), seq + ": its data is not JSON: " + row.data);
    history.push_back(row);
  }
  commit_inbox(output);
  commit_waits(output);
  messages.insert(messages.end(), output.messages.begin(), output.messages.end());
  for (const ChildStart& child : output.children) {
    expect(children.emplace(child.id, child).second || child.op == 0, child.id + " is started twice");
  }
  cancels.insert(cancels.end(), output.cancels.begin(), output.cancels.end());
  if (output.progress) progress.push_back(*output.progress);
  commit_tasks(output);
  for (const OutboxRow& row : output.outbox) expect(outbox.emplace(row.event_id, row).second, "event " + row.event_id + " is sent twice");
  status = output.status;
  note = output.note;
  if (output.recur) next_generation();
  committed(output);
  if (is_final(status)) {
    for (const Mail& one : inbox) {
      if (one.row.kind != InboxKind::message) continue;
      (one.row.op != 0 ? given_back : unread).push_back(one.row.data);
      if (one.row.op != 0) returned(one.row);
    }
    inbox.clear();
    deadlines.clear();
    subscriptions.clear();
    waits.clear();
    groups.clear();
  }
}

void MemoryInstance::commit_inbox(const Output& output) {
  for (const std::int64_t row : output.consumed) {
    const auto found = mail(row);
    expect(found != inbox.end(), "inbox row " + std::to_string(row) + " is consumed twice");
    if (found != inbox.end()) inbox.erase(found);
  }
  for (const std::int64_t row : output.seen) {
    const auto found = mail(row);
    const bool right = found != inbox.end() && !found->seen;
    expect(right, "inbox row " + std::to_string(row) + " is reported as seen twice, or after its end");
    if (right) found->seen = true;
  }
  for (const std::int64_t row : output.given_back) {
    const auto found = mail(row);
    const std::string what = "inbox row " + std::to_string(row) + " is given back, but it ";
    expect(found != inbox.end(), what + "is gone");
    if (found == inbox.end()) continue;
    expect(found->row.op != 0, what + "did not come from a competing channel");
    given_back.push_back(found->row.data);
    returned(found->row);
    inbox.erase(found);
  }
}

void MemoryInstance::commit_waits(const Output& output) {
  for (const std::int32_t op : output.timers_over) {
    const bool waited = waits.erase(op) == 1;
    expect(deadlines.erase(op) == 1 || waited || fired_.contains(op),
           "operation " + std::to_string(op) + " has no deadline that could be over");
    fired_.insert(op);  // a run rebuilt behind a transactional activity may say so again
  }
  for (const GroupChange& change : output.groups) {
    if (change.on) groups.insert(change.group);
    else groups.erase(change.group);
  }
  for (const TimerStart& timer : output.timers) {
    const std::int64_t after = timer.after ? timer.after->count() : 0;
    const std::int64_t due = timer.at ? micros_of(*timer.at) : clock_us + after;
    expect(deadlines.emplace(timer.op, Deadline{timer.kind, due, timer.at}).second,
           "operation " + std::to_string(timer.op) + " has two deadlines");
  }
  for (const SubscriptionChange& change : output.subscriptions) {
    if (change.on) {
      if (may_subscribe(change)) subscriptions.insert(change.channel);
      continue;
    }
    subscriptions.erase(change.channel);
    std::erase_if(waits, [&](const auto& wait) { return wait.second == change.channel; });
  }
  for (const MessageWait& wait : output.waits) {
    if (!subscriptions.contains(wait.channel)) continue;
    expect(waits.emplace(wait.op, wait.channel).second, "operation " + std::to_string(wait.op) + " waits twice");
  }
}

void MemoryInstance::commit_tasks(const Output& output) {
  for (const TaskStart& task : output.tasks) {
    expect(tasks.emplace(task.op, Task{task}).second, "task " + std::to_string(task.op) + " is queued twice");
    queued.push_back(task);
  }
  for (const TaskStop& taken : output.task_stops) {
    for (const auto& [id, child] : children) {
      if (child.op == taken.op) children_left.push_back(id);
    }
    const auto found = tasks.find(taken.op);
    if (found == tasks.end()) continue;  // it has just ended
    if (found->second.held && taken.wanted) {
      found->second.stopping = true;
      continue;
    }
    if (taken.wanted) {
      put(InboxKind::task_ended, taken.op, found->second.start.activity,
          R"({"generation":)" + std::to_string(generation) + R"(,"status":"withdrawn"})");
    } else {
      tasks_left.push_back(taken.op);
    }
    tasks.erase(found);
  }
}

void MemoryInstance::next_generation() {
  tasks.clear();
  expect(status == Status::running && !history.empty() && history.back().kind == HistoryKind::recurred,
         "a new generation without the row that says so");
  const std::string input = history.empty() ? "null" : history.back().data;
  archive.push_back(std::exchange(history, {}));
  deadlines.clear();
  waits.clear();
  fired_.clear();
  std::erase_if(inbox, [](const Mail& one) {
    return one.row.kind == InboxKind::timer || one.row.kind == InboxKind::timeout || one.row.kind == InboxKind::retry ||
           one.row.kind == InboxKind::expired || one.row.kind == InboxKind::refused ||
           one.row.kind == InboxKind::child_ended || one.row.kind == InboxKind::task_ended;
  });
  ++generation;
  put(InboxKind::start, generation, {}, input);
}

}  // namespace romancy::resumer
