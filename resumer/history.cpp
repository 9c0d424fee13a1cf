#include "resumer/history.hpp"

#include <utility>

namespace romancy::resumer {

std::string_view kind_name(HistoryKind kind) {
  switch (kind) {
    case HistoryKind::started: return "started";
    case HistoryKind::activity_completed: return "activity_completed";
    case HistoryKind::activity_failed: return "activity_failed";
    case HistoryKind::activity_retry: return "activity_retry";
    case HistoryKind::timer_started: return "timer_started";
    case HistoryKind::timer_fired: return "timer_fired";
    case HistoryKind::wait_started: return "wait_started";
    case HistoryKind::message_received: return "message_received";
    case HistoryKind::wait_timed_out: return "wait_timed_out";
    case HistoryKind::subscribed: return "subscribed";
    case HistoryKind::unsubscribed: return "unsubscribed";
    case HistoryKind::published: return "published";
    case HistoryKind::event_sent: return "event_sent";
    case HistoryKind::side_effect: return "side_effect";
    case HistoryKind::cancel_requested: return "cancel_requested";
    case HistoryKind::completed: return "completed";
    case HistoryKind::failed: return "failed";
    case HistoryKind::cancelled: return "cancelled";
    case HistoryKind::recurred: return "recurred";
    case HistoryKind::joined: return "joined";
    case HistoryKind::left: return "left";
    case HistoryKind::subscription_refused: return "subscription_refused";
    case HistoryKind::compensation_decided: return "compensation_decided";
    case HistoryKind::child_started: return "child_started";
    case HistoryKind::child_completed: return "child_completed";
    case HistoryKind::child_failed: return "child_failed";
    case HistoryKind::start_sent: return "start_sent";
    case HistoryKind::cancel_sent: return "cancel_sent";
    case HistoryKind::patched: return "patched";
    case HistoryKind::activity_queued: return "activity_queued";
  }
  return "unknown";  // a number written by a newer program
}

std::optional<HistoryKind> kind_named(std::string_view name) {
  for (int number = 1;; ++number) {
    const auto kind = static_cast<HistoryKind>(number);
    if (kind_name(kind) == "unknown") return std::nullopt;
    if (kind_name(kind) == name) return kind;
  }
}

std::string describe(HistoryKind kind, std::int32_t op, std::string_view name) {
  std::string text(kind_name(kind));
  if (!name.empty()) text += " '" + std::string(name) + "'";
  if (op != 0) text += " (operation " + std::to_string(op) + ")";
  return text;
}

Result<void> History::play(std::span<const HistoryRow> rows) {
  std::int64_t expected = last_seq_;
  for (const HistoryRow& row : rows) {
    if (row.seq != ++expected) {
      return refuse("history: row " + std::to_string(row.seq) + " where " + std::to_string(expected) + " was expected");
    }
  }
  rows_ = rows;
  next_ = 0;
  return {};
}

bool History::plays(std::int32_t op) const {
  for (std::size_t i = next_; i < rows_.size(); ++i) {
    if (rows_[i].op == op) return true;
  }
  return false;
}

std::optional<History::Command> History::command(HistoryKind kind, std::int32_t op, std::string_view name,
                                                 std::string data) {
  if (broken()) return std::nullopt;
  const HistoryRow* recorded = next();
  if (recorded == nullptr) {
    event(kind, op, name, std::move(data));
    return Command{};
  }
  if (recorded->kind != kind || recorded->op != op || recorded->name != name) {
    mismatch("the code did " + describe(kind, op, name));
    return std::nullopt;
  }
  pass();
  return Command{true, recorded->data};
}

void History::event(HistoryKind kind, std::int32_t op, std::string_view name, std::string data) {
  written_.push_back({++last_seq_, op, kind, std::string(name), std::move(data)});
}

void History::mismatch(std::string_view doing) {
  if (broken()) return;  // the first difference is the one that explains
  const HistoryRow* recorded = next();
  difference_.now = doing;
  difference_.recorded = "nothing more";
  if (recorded != nullptr) {
    difference_.seq = recorded->seq;
    difference_.op = recorded->op;
    difference_.recorded = describe(recorded->kind, recorded->op, recorded->name);
  }
  mismatch_ = "mismatch: history has " + difference_.recorded +
              (recorded != nullptr ? " at seq " + std::to_string(recorded->seq) : "") + ", but " + difference_.now;
}

}  // namespace romancy::resumer
