#include "resumer/run_core.hpp"

#include <algorithm>
#include <utility>

#include "common/base/json.hpp"
#include "common/base/log.hpp"
#include "resumer/sdk_names.hpp"

namespace romancy::resumer {
namespace {

using detail::Answer;

// Pauses up to this wait in memory: a commit and a timer cost more than an attempt made too early after a crash.
constexpr std::chrono::milliseconds kShortPause{1000};

// Rows of ours; a field that is missing is left as it is.
std::string text_of(const Json& row, const char* field) {
  const auto found = row.find(field);
  return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
}
int attempt_of(const Json& row) {
  const auto found = row.find("attempt");
  return found != row.end() && found->is_number_integer() ? found->get<int>() : 1;
}
// A JSON null may come from the database as no text at all.
const std::string& or_null(const std::string& data) {
  static const std::string kNull = "null";
  return data.empty() ? kNull : data;
}
Json parsed(const std::string& data) {
  auto row = parse_json(data, "history");
  return row && row->is_object() ? std::move(*row) : Json::object();
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
         outbox.empty();
}

RunCore::RunCore(const Registry& registry, WorkflowRef workflow, RunInfo info)
    : registry_(registry), workflow_(std::move(workflow)), info_(std::move(info)) {}

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
  while (const HistoryRow* row = history_.next()) {
    if (!match(*row)) {
      history_.mismatch(doing());
      break;
    }
    history_.pass();
    telling_recorded_ = true;
    told(row->kind, row->op, or_null(row->data));
    if (history_.broken()) break;
  }
  history_.end();
  for (auto& [op, open] : opens_) open.may_run = open.waits == Waits::activity;
  settle();
  return outcome_of_call();
}

bool RunCore::match(const HistoryRow& row) {
  const auto found = opens_.find(row.op);
  const Open* open = found == opens_.end() ? nullptr : &found->second;
  const auto answers = [&](Waits waits) { return open != nullptr && open->waits == waits && open->name == row.name; };
  switch (row.kind) {
    case HistoryKind::started: return !began_ && row.op == 0;
    case HistoryKind::cancel_requested: return !cancel_requested_ && row.op == 0 && status_ == Status::running;
    case HistoryKind::activity_completed:
    case HistoryKind::activity_failed:
    case HistoryKind::activity_retry: return answers(Waits::activity) && open->phase == Phase::to_start;
    case HistoryKind::timer_fired:
      if (row.name == "retry") return open != nullptr && open->phase == Phase::pausing;
      return answers(Waits::sleep);
    case HistoryKind::message_received:
    case HistoryKind::wait_timed_out: return answers(Waits::message);
    case HistoryKind::subscription_refused:
    case HistoryKind::compensation_decided: return false;
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
  if (std::any_of(rows.begin(), rows.end(), [](const InboxRow& row) { return row.kind == InboxKind::recover; }))
    cautious_ = true;
  for (const InboxRow& row : rows) {
    const auto drop = [&] { pending_.consumed.push_back(row.id); };
    switch (row.kind) {
      case InboxKind::start:
        drop();
        if (!began_ && !finished()) tell(HistoryKind::started, 0, {}, or_null(row.data));
        break;
      case InboxKind::message:
        if (row.name.empty() || !Json::accept(or_null(row.data)) || !Json::accept(or_null(row.metadata))) {
          return refuse("inbox row " + std::to_string(row.id) +
                        ": a message without a channel, or its data is not JSON");
        }
        if (finished()) drop();
        else mailbox_.put(row);
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
      case InboxKind::cancel: cancel(row); break;
      case InboxKind::recover: recovered_.insert(row.id); break;  // counted by the database while unseen: take()
      default:
        return refuse("inbox row " + std::to_string(row.id) + ": unknown kind " +
                      std::to_string(static_cast<int>(row.kind)));
    }
    settle();
    if (history_.broken()) break;
  }
  return outcome_of_call();
}

void RunCore::cancel(const InboxRow& row) {
  if (held_cancel_ == row.id) return;  // delivered again
  const bool late = finished() || status_ == Status::compensating || cancel_requested_ || held_cancel_;
  if (!late && busy()) {
    held_cancel_ = row.id;
    held_reason_ = or_null(row.data);
    return;
  }
  pending_.consumed.push_back(row.id);
  if (!late) tell(HistoryKind::cancel_requested, 0, {}, or_null(row.data));
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
  if (open == nullptr || open->phase != Phase::under_way || open->attempt != outcome.attempt) {
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
  std::string data =
      dump_json(Json{{"type", outcome.error_type}, {"message", outcome.error_message}, {"attempt", outcome.attempt}});
  if (outcome.terminal || (policy.attempts != 0 && open.attempt >= policy.attempts)) {
    return tell(HistoryKind::activity_failed, op, std::string(open.name), std::move(data));
  }
  if (held_cancel_ && open.ask != nullptr && !open.shielded) {
    open.phase = Phase::pausing;  // no other attempt; settle() finds nobody busy and lets the cancellation through
    return;
  }
  const auto pause = detail::retry_delay(policy, open.attempt, operation_key(info_.instance_id, op, info_.generation));
  if (pause <= kShortPause) {
    ++open.attempt;
    open.phase = Phase::to_start;
    open.may_run = true;  // a cancel waits for the attempt to come: its predecessor may have had its effect
    open.delay = pause;
    return;
  }
  open.timed = true;
  pending_.timers.push_back({op, TimerKind::retry, pause, std::nullopt});
  tell(HistoryKind::activity_retry, op, std::string(open.name), std::move(data));
}

// --------------------------------------------------------------------------------------------------------- being told

void RunCore::tell(HistoryKind kind, std::int32_t op, std::string_view name, std::string data) {
  history_.event(kind, op, name, data);
  told(kind, op, data);
}

void RunCore::told(HistoryKind kind, std::int32_t op, const std::string& data) {
  switch (kind) {
    case HistoryKind::started:
      began_ = true;
      body_ = workflow_.start(context_, data);
      body_.start(driver_);
      break;
    case HistoryKind::cancel_requested: told_cancel(data); break;
    case HistoryKind::activity_completed:
      answer(op, {.kind = Answer::Kind::value, .attempt = opens_.at(op).attempt, .data = data});
      break;
    case HistoryKind::activity_failed: {
      const Json row = parsed(data);
      answer(op, {.kind = Answer::Kind::failed,
                  .attempt = attempt_of(row),
                  .error_type = text_of(row, "type"),
                  .error_message = text_of(row, "message")});
      break;
    }
    case HistoryKind::activity_retry: {
      Open& open = opens_.at(op);
      open.attempt = attempt_of(parsed(data)) + 1;
      open.phase = Phase::pausing;
      open.timed = true;
      break;
    }
    case HistoryKind::timer_fired: {
      Open& open = opens_.at(op);
      open.timed = false;  // the row of deadlines went when it fired
      if (open.waits == Waits::sleep) {
        answer(op, {.kind = Answer::Kind::value, .data = "null"});
      } else {
        open.phase = Phase::to_start;
        open.delay = {};
        open.may_run = cautious_;
      }
      break;
    }
    case HistoryKind::message_received: answer(op, {.kind = Answer::Kind::value, .data = data}); break;
    case HistoryKind::wait_timed_out:
      opens_.at(op).timed = false;
      answer(op, {.kind = Answer::Kind::timed_out});
      break;
    default: break;  // commands are not told
  }
  telling_recorded_ = false;
  drive();
}

void RunCore::told_cancel(const std::string& data) {
  cancel_requested_ = true;
  cancel_reason_ = text_of(parsed(data), "reason");
  if (!began_) {  // cancelled before it was due to start: no code runs
    end_kind_ = HistoryKind::cancelled;
    end_message_ = cancel_reason_;
    return next_compensation();
  }
  std::vector<std::int32_t> struck;
  for (const auto& [op, open] : opens_) {
    if (open.ask != nullptr && !open.shielded) struck.push_back(op);
  }
  for (const std::int32_t op : struck) answer(op, {.kind = Answer::Kind::cancelled, .data = cancel_reason_});
}

void RunCore::answer(std::int32_t op, Answer answer) {
  const auto node = opens_.extract(op);
  const Open& open = node.mapped();
  if (open.timed) over(op);
  if (open.ask != nullptr) {
    open.ask->answer(std::move(answer), driver_);
  } else {
    compensated(open.name, answer);
  }
}

void RunCore::drive() {
  driver_.run();
  if (!history_.broken() && body_.done()) body_ended();
}

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
  if (held_cancel_ && !busy()) {
    pending_.consumed.push_back(*std::exchange(held_cancel_, std::nullopt));
    if (status_ == Status::running) tell(HistoryKind::cancel_requested, 0, {}, std::exchange(held_reason_, {}));
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
    return open.waits == Waits::activity && open.ask != nullptr && !open.shielded &&
           (open.phase == Phase::under_way || (open.phase == Phase::to_start && open.may_run));
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
  out = std::exchange(pending_, {});
  out.status = status_;
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
    }
    if (open.phase == Phase::under_way) out.release = false;
  }
  // Workers that died count until the run gets somewhere: then, or when it lets go, the rows may go.
  if (!out.history.empty() || out.release) {
    out.consumed.insert(out.consumed.end(), recovered_.begin(), recovered_.end());
    recovered_.clear();
  }
  return out;
}

bool RunCore::stoppable(std::int32_t op) const {
  const auto found = opens_.find(op);
  return found != opens_.end() && found->second.ask != nullptr && !found->second.shielded && status_ == Status::running;
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

void RunCore::over(std::int32_t op) {
  if (history_.playing() || telling_recorded_) return;  // it was deleted when this was written
  // Registered in the same breath: neither shall be written.
  if (std::erase_if(pending_.timers, [&](const TimerStart& timer) { return timer.op == op; }) == 0)
    pending_.timers_over.push_back(op);
}

std::string RunCore::doing() const {
  if (finished()) return "the code has finished";
  if (!began_) return "the workflow has not begun";
  std::string waits;
  for (const auto& [op, open] : opens_) {
    if (!waits.empty()) waits += " and ";
    switch (open.waits) {
      case Waits::activity: waits += "activity '" + open.name + "'"; break;
      case Waits::sleep: waits += "sleep"; break;
      case Waits::message: waits += "a message on channel '" + open.name + "'"; break;
    }
    waits += " (operation " + std::to_string(op) + ")";
  }
  return waits.empty() ? "the code waits for nothing" : "the code waits for " + waits;
}

}  // namespace romancy::resumer
