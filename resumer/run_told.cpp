// Being told: how a row of history, recorded or new, becomes the answer to an ask, and the code goes on.
#include <utility>

#include "common/base/json.hpp"
#include "resumer/run_core.hpp"

namespace romancy::resumer {
namespace {

using detail::Answer;

// Rows of ours; a field that is missing is left as it is.
std::string text_of(const Json& row, const char* field) {
  const auto found = row.find(field);
  return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
}
int attempt_of(const Json& row) {
  const auto found = row.find("attempt");
  return found != row.end() && found->is_number_integer() ? found->get<int>() : 1;
}
Json parsed(const std::string& data) {
  auto row = parse_json(data, "history");
  return row && row->is_object() ? std::move(*row) : Json::object();
}

}  // namespace

void RunCore::tell(HistoryKind kind, std::int32_t op, std::string_view name, const std::string& data) {
  history_.event(kind, op, name, data);
  if (kind == HistoryKind::started && workflow_.options().timeout.count() > 0) {
    pending_.timers.push_back({0, TimerKind::expiry, workflow_.options().timeout, std::nullopt});
  }
  told(kind, op, data);
}

void RunCore::told(HistoryKind kind, std::int32_t op, const std::string& data) {
  refusals_ = 0;
  switch (kind) {
    case HistoryKind::started:
      began_ = true;
      body_ = workflow_.start(context_, data);
      body_.start(driver_, *top_);
      break;
    case HistoryKind::cancel_requested: told_cancel(data); break;
    case HistoryKind::subscription_refused: told_refused(op, data); break;
    case HistoryKind::compensation_decided: told_decision(data); break;
    case HistoryKind::activity_completed:
      answer(op, {.kind = Answer::Kind::value, .attempt = opens_.at(op).told_attempt, .data = data});
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
      const Json row = parsed(data);
      open.attempt = open.told_attempt = attempt_of(row) + 1;
      if (const auto first = row.find("first_us"); first != row.end() && first->is_number_integer()) {
        open.first_us = first->get<std::int64_t>();
        open.first_recorded = true;
      }
      open.last_failure = data;
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
    case HistoryKind::child_completed: told_child(op, {.kind = Answer::Kind::value, .data = data}); break;
    case HistoryKind::child_failed: {
      const Json row = parsed(data);
      told_child(op, {.kind = Answer::Kind::failed,
                      .error_type = text_of(row, "type"),
                      .error_message = text_of(row, "message")});
      break;
    }
    case HistoryKind::message_received: answer(op, {.kind = Answer::Kind::value, .data = data}); break;
    case HistoryKind::wait_timed_out:
      opens_.at(op).timed = false;
      answer(op, {.kind = Answer::Kind::timed_out});
      break;
    default: break;  // commands are not told
  }
  drive();
}

void RunCore::told_cancel(const std::string& data) {
  cancel_requested_ = true;
  const Json row = parsed(data);
  cancel_type_ = text_of(row, "type");
  top_->cancelled = true;
  top_->reason = text_of(row, "reason");
  if (!began_) {  // cancelled before it was due to start: no code runs
    end_kind_ = HistoryKind::cancelled;
    end_message_ = top_->reason;
    return next_compensation();
  }
  strike();
}

void RunCore::strike() {
  if (dying_) return;
  std::vector<std::pair<std::int32_t, std::string>> struck;
  for (const auto& [op, open] : opens_) {
    if (open.ask == nullptr) continue;
    if (const detail::Scope* by = open.ask->scope().cancelled_by()) struck.emplace_back(op, by->reason);
  }
  for (auto& [op, reason] : struck) {
    leave(op, opens_.at(op));
    answer(op, {.kind = Answer::Kind::cancelled, .data = std::move(reason)});
  }
}

// A subscription that could not be made: whoever waits on the channel, now or later, is told why.
void RunCore::told_refused(std::int32_t op, const std::string& data) {
  const Json row = parsed(data);
  std::string name;
  for (auto& [channel, state] : channels_) {
    if (state.op != op) continue;
    state.refused = text_of(row, "message");
    name = channel;
  }
  std::vector<std::int32_t> struck;
  for (const auto& [at, open] : opens_) {
    if (open.waits == Waits::message && open.name == name) struck.push_back(at);
  }
  for (const std::int32_t at : struck) answer(at, refusal(name));
}

// Nobody may wait for it yet, or ever.
void RunCore::told_child(std::int32_t op, Answer ended) {
  Child& child = children_.at(op);
  ended.instance_id = child.id;
  child.ended = ended;
  if (const auto by = std::exchange(child.awaited_by, 0); by != 0) answer(by, std::move(ended));
}

detail::Answer RunCore::refusal(const std::string& channel) const {
  return {.kind = Answer::Kind::failed,
          .error_type = "ChannelModeConflict",
          .error_message = channels_.at(channel).refused};
}

void RunCore::answer(std::int32_t op, Answer answer) {
  const auto node = opens_.extract(op);
  const Open& open = node.mapped();
  over(op, open);
  if (open.ask != nullptr) {
    open.ask->answer(std::move(answer));
  } else {
    compensated(answer);
  }
}

// Nobody waits for this any more, and it may be under way.
void RunCore::leave(std::int32_t op, const Open& open) {
  if (open.waits == Waits::activity && open.phase == Phase::under_way) pending_.stopped.push_back(op);
  if (open.waits == Waits::activity && open.phase == Phase::queued) {
    const auto unwritten = std::erase_if(pending_.tasks, [&, op = op](const TaskStart& task) { return task.op == op; });
    // What the code does when it is told a recorded event was committed together with that event.
    if (unwritten == 0 && !in_replay_) pending_.task_stops.push_back({op, false});
  }
  if (open.waits != Waits::child) return;
  const auto own = children_.find(op);
  if (own == children_.end()) {  // of a child that was started apart: only the wait ends
    for (auto& [at, child] : children_) {
      if (child.awaited_by == op) child.awaited_by = 0;
    }
    return;
  }
  own->second.awaited_by = 0;
  // What the code does when it is told a recorded event was committed together with that event.
  if (!own->second.follows || in_replay_) return;
  if (std::erase_if(pending_.children, [&](const ChildStart& start) { return start.op == op; }) == 0)
    pending_.task_stops.push_back({op, false});  // by its operation: should the start be refused, the id is a stranger's
}

void RunCore::drive() {
  driver_.run();
  if (history_.broken()) return;
  if (body_.done()) body_ended();
  else if (refusals_ > kMostRefusals) body_abandoned();
}

// The rows of the database that belong to it are not wanted any more; or not any more to be written.
void RunCore::over(std::int32_t op, const Open& open) {
  const auto timers = std::erase_if(pending_.timers, [&](const TimerStart& timer) { return timer.op == op; });
  const auto waits = std::erase_if(pending_.waits, [&](const MessageWait& wait) { return wait.op == op; });
  // What the code does when it is told a recorded event was committed together with that event.
  if (in_replay_) return;
  if ((open.timed && timers == 0) || (open.listed && waits == 0)) pending_.timers_over.push_back(op);
}

}  // namespace romancy::resumer
