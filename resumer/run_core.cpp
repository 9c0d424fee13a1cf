#include "resumer/run_core.hpp"

#include <algorithm>
#include <utility>

#include "common/base/json.hpp"
#include "resumer/sdk_names.hpp"

namespace romancy::resumer {
namespace {

// Pauses up to this wait in memory: a commit and a timer cost more than an attempt made too early after a crash.
constexpr std::chrono::milliseconds kShortPause{1000};

// A JSON null may come from the database as no text at all.
const std::string& or_null(const std::string& data) {
  static const std::string kNull = "null";
  return data.empty() ? kNull : data;
}

}  // namespace

Result<std::unique_ptr<Run>> Run::make(const Registry& registry, RunInfo info) {
  const WorkflowRef* workflow = registry.workflow(info.workflow_name);
  if (workflow == nullptr) return refuse("workflow '" + info.workflow_name + "' is not registered in this program");
  return std::make_unique<RunCore>(registry, *workflow, std::move(info));
}

bool Output::empty() const {
  return history.empty() && timers.empty() && timers_over.empty() && waits.empty() && given_back.empty() &&
         groups.empty() && consumed.empty() && seen.empty() && subscriptions.empty() && messages.empty() &&
         outbox.empty() && children.empty() && cancels.empty() && !progress && tasks.empty() &&
         task_stops.empty();
}

RunCore::RunCore(const Registry& registry, WorkflowRef workflow, RunInfo info)
    : registry_(registry), workflow_(std::move(workflow)), info_(std::move(info)) {
  driver_.at_rest(*top_);
}

RunCore::~RunCore() {
  dying_ = true;  // first: the destructors of the code may call the context
  body_ = {};
}

// ------------------------------------------------------------------------------------------------------ what comes in

Result<void> RunCore::outcome_of_call() const {
  if (history_.broken()) return refuse(history_.mismatch());
  return {};
}

Result<void> RunCore::replay(std::span<const HistoryRow> rows) {
  if (began_ || history_.last_seq() != 0) return bug("replay: the run has begun already");
  if (auto playable = history_.play(rows); !playable) return playable;
  in_replay_ = rebuilding_ = true;
  while (const HistoryRow* row = history_.next()) {
    if (!match(*row)) {
      history_.mismatch(doing());
      break;
    }
    history_.pass();
    in_replay_ = history_.playing() || !durable_before_told(*row);
    told(row->kind, row->op, or_null(row->data));
    if (history_.broken()) break;
  }
  in_replay_ = rebuilding_ = false;
  history_.end();
  for (auto& [op, open] : opens_) open.may_run = open.waits == Waits::activity;
  settle();
  return outcome_of_call();
}

// The result of a transactional activity: when it is the last row, a worker died before it told the code, or before it
// committed what the code made of it.
bool RunCore::durable_before_told(const HistoryRow& row) const {
  if (row.kind != HistoryKind::activity_completed) return false;
  const ActivityRef* activity = registry_.activity(row.name);
  return activity != nullptr && activity->definition().kind() == detail::ActivityKind::transactional;
}

bool RunCore::match(const HistoryRow& row) {
  const auto found = opens_.find(row.op);
  const Open* open = found == opens_.end() ? nullptr : &found->second;
  const auto answers = [&](Waits waits) { return open != nullptr && open->waits == waits && open->name == row.name; };
  switch (row.kind) {
    case HistoryKind::started: return !began_ && row.op == 0;
    case HistoryKind::cancel_requested: return !cancel_requested_ && row.op == 0 && status_ == Status::running;
    case HistoryKind::compensation_decided: return undecided_ && row.op == 0;
    case HistoryKind::subscription_refused: {
      const auto channel = channels_.find(row.name);
      return channel != channels_.end() && channel->second.op == row.op;
    }
    case HistoryKind::activity_completed:
    case HistoryKind::activity_failed:
      return answers(Waits::activity) && (open->phase == Phase::to_start || open->phase == Phase::queued);
    case HistoryKind::activity_retry: return answers(Waits::activity) && open->phase == Phase::to_start;
    case HistoryKind::timer_fired:
      if (row.name == "retry") return open != nullptr && open->phase == Phase::pausing;
      return answers(Waits::sleep);
    case HistoryKind::message_received:
    case HistoryKind::wait_timed_out: return answers(Waits::message);
    case HistoryKind::child_completed:
    case HistoryKind::child_failed: {
      const auto child = children_.find(row.op);
      return child != children_.end() && child->second.workflow == row.name && !child->second.ended;
    }
    case HistoryKind::child_started:
    case HistoryKind::start_sent:
    case HistoryKind::cancel_sent:
    case HistoryKind::patched:
    case HistoryKind::activity_queued:
    case HistoryKind::timer_started:
    case HistoryKind::wait_started:
    case HistoryKind::subscribed:
    case HistoryKind::unsubscribed:
    case HistoryKind::published:
    case HistoryKind::event_sent:
    case HistoryKind::side_effect:
    case HistoryKind::joined:
    case HistoryKind::left:
    case HistoryKind::completed:
    case HistoryKind::failed:
    case HistoryKind::recurred:
    case HistoryKind::cancelled: return false;  // commands: the code would have done them before it came to wait
  }
  return false;
}

Result<void> RunCore::deliver(std::span<const InboxRow> rows) {
  if (history_.broken()) return outcome_of_call();
  // A death that is news to this run; one that is only not read yet stands before it in every look.
  const auto news = [&](const InboxRow& row) { return row.kind == InboxKind::recover && !recovered_.contains(row.id); };
  if (std::any_of(rows.begin(), rows.end(), news)) cautious_ = true;
  for (const InboxRow& row : rows) {
    if (recurred_) break;  // the next generation reads it
    const auto drop = [&] { pending_.consumed.push_back(row.id); };
    switch (row.kind) {
      case InboxKind::start:
        drop();
        // A cancellation that did not wait for start_at tells the first generation's start again, however late.
        if (row.op == info_.generation && !began_ && !finished()) tell(HistoryKind::started, 0, {}, or_null(row.data));
        break;
      case InboxKind::message:
        if (row.name.empty() || !Json::accept(or_null(row.data)) || !Json::accept(or_null(row.metadata))) {
          return refuse("inbox row " + std::to_string(row.id) +
                        ": a message without a channel, or its data is not JSON");
        }
        // At the end the commit clears the inbox, and gives back what others may still want.
        if (!finished()) mailbox_.put(row);
        break;
      case InboxKind::timer:
        drop();
        if (find(row.op, Waits::sleep) != nullptr) tell(HistoryKind::timer_fired, row.op, "sleep", "null");
        break;
      case InboxKind::timeout:
        drop();
        if (const Open* open = find(row.op, Waits::message))
          tell(HistoryKind::wait_timed_out, row.op, std::string(open->name), "null");
        break;
      case InboxKind::retry: {
        drop();
        const Open* open = find(row.op, Waits::activity);
        if (open != nullptr && open->phase == Phase::pausing) tell(HistoryKind::timer_fired, row.op, "retry", "null");
        break;
      }
      case InboxKind::cancel: ask_to_end({row.id, or_null(row.data)}); break;
      case InboxKind::expired: {
        ask_to_end({row.id, dump_json(Json{{"reason", "the workflow's time of " + std::to_string(workflow_.options().timeout.count()) + " ms" + " is over"},
                                           {"type", "WorkflowTimedOut"}}), true});
        break;
      }
      case InboxKind::refused: {
        drop();
        const auto channel = channels_.find(row.name);
        if (channel != channels_.end() && channel->second.op == row.op)
          tell(HistoryKind::subscription_refused, row.op, row.name, or_null(row.data));
        break;
      }
      case InboxKind::compensate:
        drop();
        if (undecided_) tell(HistoryKind::compensation_decided, 0, {}, or_null(row.data));
        break;
      case InboxKind::recover:
        // A death is counted by the database while unread: take(). Connections that were lost are not, and may be many:
        // left unread they would stand before a cancellation in every look.
        if (row.data.find("true") != std::string::npos) recovered_.insert(row.id);
        else drop();
        break;
      case InboxKind::child_ended: {
        drop();
        const auto child = children_.find(row.op);
        if (child == children_.end() || child->second.ended || finished()) break;
        const auto end = parse_json(or_null(row.data), "inbox row " + std::to_string(row.id));
        if (!end || !end->is_object()) return refuse("inbox row " + std::to_string(row.id) + ": not the end of a child");
        if (end->value("status", "") == "completed") {
          tell(HistoryKind::child_completed, row.op, child->second.workflow, dump_json(end->value("output", Json())));
        } else {
          tell(HistoryKind::child_failed, row.op, child->second.workflow, dump_json(end->value("error", Json::object())));
        }
        break;
      }
      case InboxKind::task_ended: {
        drop();
        Open* open = find(row.op, Waits::activity);
        if (open == nullptr || open->phase != Phase::queued || finished()) break;
        const auto end = parse_json(or_null(row.data), "inbox row " + std::to_string(row.id));
        if (!end || !end->is_object()) return refuse("inbox row " + std::to_string(row.id) + ": not the end of a task");
        if (end->value("generation", 0) != info_.generation) break;  // completed in a transaction that stayed open
        const std::string name = open->name, status = end->value("status", "");
        if (status == "withdrawn") open->phase = Phase::withdrawn;
        else if (status == "completed") tell(HistoryKind::activity_completed, row.op, name, dump_json(end->value("result", Json())));
        else tell(HistoryKind::activity_failed, row.op, name, dump_json(end->value("error", Json::object())));
        break;
      }
      default:
        return refuse("inbox row " + std::to_string(row.id) + ": unknown kind " +
                      std::to_string(static_cast<int>(row.kind)));
    }
    settle();
    if (history_.broken()) break;
  }
  return outcome_of_call();
}

void RunCore::ask_to_end(EndRequest request) {
  const auto held = [&](auto field) {
    return std::any_of(held_.begin(), held_.end(), [&](const EndRequest& one) { return one.*field == request.*field; });
  };
  if (held(&EndRequest::inbox_id)) return;  // delivered again
  // An expiry and a cancellation wait side by side: the next generation, should there be one, sees the cancellation.
  const bool late =
      finished() || status_ == Status::compensating || cancel_requested_ || held(&EndRequest::expiry);
  // What a generation left to its successor is told once that has begun: its code may have to clean up after both.
  const bool early = !began_ && generation() > 0;
  if (!late && (early || busy())) {
    held_.push_back(std::move(request));
    return;
  }
  if (request.inbox_id) pending_.consumed.push_back(*request.inbox_id);
  if (!late) tell(HistoryKind::cancel_requested, 0, {}, request.data);
}

Result<void> RunCore::seen(const std::string& channel, std::span<const InboxRow> rows, bool all) {
  if (history_.broken()) return outcome_of_call();
  if (!mailbox_.found(channel, rows, all))
    return bug("seen: rows of channel '" + channel + "' were read without regard to seen_after");
  settle();
  return outcome_of_call();
}

Result<void> RunCore::activity_done(const ActivityOutcome& outcome) {
  if (history_.broken()) return outcome_of_call();
  Open* open = find(outcome.op, Waits::activity);
  if (open == nullptr) return {};  // taken back while it was under way
  if (open->phase != Phase::under_way || open->attempt != outcome.attempt) {
    return bug("activity_done: attempt " + std::to_string(outcome.attempt) + " of operation " +
               std::to_string(outcome.op) + " is not under way");
  }
  if (outcome.ok) {
    tell(HistoryKind::activity_completed, outcome.op, std::string(open->name), outcome.data);
  } else {
    attempt_failed(outcome.op, *open, outcome);
  }
  settle();
  return outcome_of_call();
}

void RunCore::attempt_failed(std::int32_t op, Open& open, const ActivityOutcome& outcome) {
  const ActivityRef* activity = registry_.activity(open.name);
  const RetryPolicy policy = activity != nullptr ? activity->retry() : RetryPolicy{.attempts = 1};
  Json row{{"type", outcome.error_type}, {"message", outcome.error_message}, {"attempt", outcome.attempt}};
  const auto pause =
      detail::next_attempt(policy,
                           {.number = open.attempt,
                            .type = outcome.error_type,
                            .terminal = outcome.terminal,
                            .retryable = outcome.retryable,
                            .since_first = std::chrono::microseconds(clock_ - open.first_us)},
                           operation_key(info_.instance_id, op, info_.generation));
  if (!pause) return tell(HistoryKind::activity_failed, op, std::string(open.name), dump_json(row));
  if (!held_.empty() && open.ask != nullptr && open.ask->scope().open_to_the_top()) {
    open.phase = Phase::pausing;  // no other attempt; settle() finds nobody busy and lets the cancellation through
    return;
  }
  const bool limited = policy.max_duration.count() != 0;
  if (*pause <= kShortPause && (!limited || open.first_recorded)) {
    ++open.attempt;
    open.phase = Phase::to_start;
    open.may_run = true;  // a cancel waits for the attempt to come: its predecessor may have had its effect
    open.delay = *pause;
    open.last_failure = dump_json(row);
    return;
  }
  if (limited) row["first_us"] = open.first_us;
  open.timed = true;
  pending_.timers.push_back({op, TimerKind::retry, *pause, std::nullopt});
  tell(HistoryKind::activity_retry, op, std::string(open.name), dump_json(row));
}

// A pause may have ended long after it should: nobody was there to see it.
bool RunCore::too_late(const Open& open) const {
  if (open.waits != Waits::activity || open.phase != Phase::to_start || open.last_failure.empty()) return false;
  const ActivityRef* activity = registry_.activity(open.name);
  return activity != nullptr && activity->retry().max_duration.count() != 0 && open.first_us != 0 &&
         std::chrono::microseconds(clock_ - open.first_us) > activity->retry().max_duration;
}

// --------------------------------------------------------------------------------------------- what it can tell itself

void RunCore::settle() {
  while (!history_.broken() && !finished() && settle_one()) {
  }
}

bool RunCore::settle_one() {
  for (const auto& [op, open] : opens_) {
    if (open.waits == Waits::activity && open.phase == Phase::to_start && registry_.activity(open.name) == nullptr) {
      const std::string name = open.name;
      tell(HistoryKind::activity_failed, op, name,
           dump_json(Json{{"type", "UnknownActivity"},
                          {"message", "no activity named '" + name + "' in this program"},
                          {"attempt", open.attempt}}));
      return true;
    }
  }
  for (const auto& [op, open] : opens_) {
    if (!too_late(open)) continue;
    const std::string name = open.name, failure = open.last_failure;
    tell(HistoryKind::activity_failed, op, name, failure);
    return true;
  }
  if (!held_.empty() && !busy() && (began_ || generation() == 0)) {
    std::string data = std::move(held_.front().data);
    drop_held();
    if (status_ == Status::running) tell(HistoryKind::cancel_requested, 0, {}, data);
    return true;
  }
  const std::int64_t most = workflow_.options().max_history;
  if (history_.last_seq() >= most && status_ == Status::running && !cancel_requested_ && !busy()) {
    ask_to_end({std::nullopt, dump_json(Json{{"reason", "its history has " + std::to_string(history_.last_seq()) +
                                                            " rows, at most " + std::to_string(most) + " are allowed"},
                                             {"type", "HistoryTooLong"}})});
    return true;
  }
  for (const auto& [op, open] : opens_) {
    if (open.waits != Waits::message || mailbox_.must_search(open.name)) continue;
    if (auto row = mailbox_.pop(open.name)) {
      pending_.consumed.push_back(row->id);
      tell(HistoryKind::message_received, op, std::string(open.name),
           R"({"message_id":)" + std::to_string(row->message_id) + R"(,"data":)" + or_null(row->data) +
               R"(,"metadata":)" + (row->metadata.empty() ? "{}" : row->metadata) + "}");
      return true;
    }
  }
  return false;
}

bool RunCore::busy() const {
  return std::any_of(opens_.begin(), opens_.end(), [](const auto& entry) {
    const Open& open = entry.second;
    return open.waits == Waits::activity && open.ask != nullptr && open.ask->scope().open_to_the_top() &&
           (open.phase == Phase::under_way || open.phase == Phase::queued || (open.phase == Phase::to_start && open.may_run));
  });
}

// ------------------------------------------------------------------------------------------------------ what goes out

Output RunCore::take() {
  Output out;
  out.status = status_;
  if (history_.broken()) return out;
  for (const auto& [op, open] : opens_) {
    if (open.waits == Waits::message && mailbox_.must_search(open.name)) {
      out.release = false;
      out.ask_seen = open.name;
      out.seen_after = mailbox_.search_after(open.name);
      return out;
    }
  }
  // Also of a channel that was unsubscribed from: the message was on its way by then.
  for (const std::string& name : mailbox_.distributed()) {
    const bool awaited = std::any_of(opens_.begin(), opens_.end(), [&](const auto& entry) {
      return entry.second.waits == Waits::message && entry.second.name == name;
    });
    if (awaited) continue;
    for (const std::int64_t id : mailbox_.give_back(name)) pending_.given_back.push_back(id);
  }
  out = std::exchange(pending_, {});
  out.status = status_;
  out.recur = recurred_;
  out.note = note();
  out.history = history_.take();
  out.seen = mailbox_.report();
  out.release = true;
  cautious_ = false;
  for (auto& [op, open] : opens_) {
    if (open.waits != Waits::activity) continue;
    if (open.phase == Phase::to_start) {
      out.activities.push_back({op, open.attempt, open.name, open.input,
                                operation_key(info_.instance_id, op, info_.generation), std::exchange(open.delay, {})});
      open.phase = Phase::under_way;
      if (open.first_us == 0) open.first_us = clock_;
    }
    if (open.phase == Phase::under_way) out.release = false;
    if (open.phase == Phase::queued && !held_.empty() && open.ask != nullptr && open.ask->scope().open_to_the_top()) {
      if (!std::exchange(open.asked_to_stop, true)) out.task_stops.push_back({op, true});
      out.release = false;
    }
  }
  // Workers that died count until the run gets somewhere: then, or when it lets go, the rows may go. That it began is
  // nowhere yet: whoever looks at it in its first activity has that written, and the count would begin anew.
  const auto progress = [](const HistoryRow& row) { return row.kind != HistoryKind::started; };
  if (out.release || std::any_of(out.history.begin(), out.history.end(), progress)) {
    out.consumed.insert(out.consumed.end(), recovered_.begin(), recovered_.end());
    recovered_.clear();
  }
  return out;
}

bool RunCore::stoppable(std::int32_t op) const {
  const auto found = opens_.find(op);
  return found != opens_.end() && found->second.ask != nullptr && found->second.ask->scope().open_to_the_top() &&
         status_ == Status::running;
}

bool RunCore::awaits(std::int32_t op) const {
  const auto found = opens_.find(op);
  return found != opens_.end() && found->second.phase == Phase::under_way;
}

std::vector<std::int32_t> RunCore::under_way() const {
  std::vector<std::int32_t> ops;
  for (const auto& [op, open] : opens_) {
    if (open.phase == Phase::under_way) ops.push_back(op);
  }
  return ops;
}

// ------------------------------------------------------------------------------------------------------------- helpers

RunCore::Open* RunCore::find(std::int32_t op, Waits waits) {
  const auto found = opens_.find(op);
  return found != opens_.end() && found->second.waits == waits ? &found->second : nullptr;
}

std::string RunCore::doing() const {
  if (finished()) return "the code has finished";
  if (undecided_) return "compensations failed and nobody decided";
  if (!began_) return "the workflow has not begun";
  std::string waits;
  for (const auto& [op, open] : opens_) {
    if (!waits.empty()) waits += " and ";
    switch (open.waits) {
      case Waits::activity: waits += "activity '" + open.name + "'"; break;
      case Waits::sleep: waits += "sleep"; break;
      case Waits::message: waits += "a message on channel '" + open.name + "'"; break;
      case Waits::child: waits += "a child of workflow '" + open.name + "'"; break;
    }
    waits += " (operation " + std::to_string(op) + ")";
  }
  return waits.empty() ? "the code waits for nothing" : "the code waits for " + waits;
}

}  // namespace romancy::resumer
