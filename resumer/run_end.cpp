// The end of a workflow: its value, its error, its cancellation or a new generation; compensations; the last row of
// history.
#include <utility>

#include "common/base/json.hpp"
#include "resumer/run_abandoned.hpp"
#include "resumer/run_core.hpp"

namespace romancy::resumer {
namespace {

// What recur() throws through the code. No std::exception: nobody may catch it by accident.
struct NextGeneration {
  std::string input;
};

}  // namespace

void RunCore::recur(std::string input) {
  if (history_.broken()) throw Abandoned{};
  if (!compensations_.empty()) {
    throw std::logic_error("recur: " + std::to_string(compensations_.size()) +
                           " compensations are registered: forget_compensations() first, or let them run");
  }
  throw NextGeneration{std::move(input)};
}

void RunCore::body_ended() {
  std::string output;
  std::optional<std::string> next;
  bool completed = false;
  try {
    output = body_.take();
    completed = true;
  } catch (const Abandoned&) {
    return;  // a mismatch stopped the code; nothing of this run counts
  } catch (NextGeneration& generation) {
    next = std::move(generation.input);
  } catch (const WorkflowCancelled& e) {
    // A scope's cancellation that reached the top is an error of the code: nobody cancelled the instance.
    end_kind_ = cancel_requested_ && cancel_type_.empty() ? HistoryKind::cancelled : HistoryKind::failed;
    end_type_ = cancel_requested_ ? cancel_type_ : "WorkflowCancelled";
    end_message_ = e.reason();
  } catch (...) {
    auto error = detail::current_error();
    end_kind_ = HistoryKind::failed;
    end_type_ = std::move(error.type);
    end_message_ = std::move(error.message);
  }
  body_ = {};
  if (next) {  // a cancellation that waits is for the next generation: its row stays unread
    held_.clear();
    if (history_.command(HistoryKind::recurred, 0, {}, std::move(*next))) recurred_ = true;
    return;
  }
  drop_held();
  if (completed) return finish(HistoryKind::completed, std::move(output));
  next_compensation();
}

// It was cancelled, caught that, and goes round without ever waiting.
void RunCore::body_abandoned() {
  end_kind_ = HistoryKind::failed;
  end_type_ = "CancellationIgnored";
  end_message_ = "it caught a cancellation and went on " + std::to_string(kMostRefusals) + " times";
  body_ = {};
  drop_held();
  next_compensation();
}

// They were told, or it is too late.
void RunCore::drop_held() {
  for (const EndRequest& request : held_) {
    if (request.inbox_id) pending_.consumed.push_back(*request.inbox_id);
  }
  held_.clear();
}

void RunCore::next_compensation() {
  if (!compensations_.empty()) {
    status_ = Status::compensating;
    Compensation next = std::move(compensations_.back());
    compensations_.pop_back();
    undoing_ = std::move(next);
    return await_activity(undoing_->op, nullptr, undoing_->activity, undoing_->input);
  }
  // Half undone is no state to end in: somebody shall see it, and try again or say that it is well so.
  if (!uncompensated_.empty()) undecided_ = true;
  else end_compensated();
}

void RunCore::compensated(const detail::Answer& answer) {
  Compensation done = *std::exchange(undoing_, std::nullopt);
  if (answer.kind == detail::Answer::Kind::failed) {
    done.failure = dump_json(Json{{"activity", done.activity.name()},
                                  {"type", answer.error_type},
                                  {"message", answer.error_message},
                                  {"attempt", answer.attempt}});
    uncompensated_.push_back(std::move(done));
  }
  next_compensation();
}

void RunCore::told_decision(const std::string& data) {
  undecided_ = false;
  const auto decision = parse_json(data, "decision");
  if (!decision || !decision->is_object() || !decision->value("retry", false)) return end_compensated();
  compensations_.assign(std::make_move_iterator(uncompensated_.rbegin()),
                        std::make_move_iterator(uncompensated_.rend()));
  uncompensated_.clear();
  next_compensation();
}

void RunCore::end_compensated() {
  Json end = end_kind_ == HistoryKind::failed ? Json{{"type", end_type_}, {"message", end_message_}}
                                              : Json{{"reason", end_message_}};
  if (!uncompensated_.empty()) {
    Json& list = end["compensations_failed"] = Json::array();
    for (const Compensation& failed : uncompensated_) list.push_back(Json::parse(failed.failure));
  }
  finish(end_kind_, dump_json(end));
}

std::string RunCore::note() const {
  if (!undecided_) return {};
  std::string text = "compensation failed: ";
  for (const Compensation& failed : uncompensated_) {
    const Json why = Json::parse(failed.failure);
    if (&failed != &uncompensated_.front()) text += "; ";
    text += failed.activity.name() + ": " + why.value("type", "") + ": " + why.value("message", "");
  }
  return text;
}

void RunCore::finish(HistoryKind kind, std::string data) {
  if (!history_.command(kind, 0, {}, std::move(data))) return;
  status_ = kind == HistoryKind::completed ? Status::completed
            : kind == HistoryKind::failed  ? Status::failed
                                           : Status::cancelled;
}

}  // namespace romancy::resumer
