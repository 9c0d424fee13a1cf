// The end of a workflow: its value, its error or its cancellation; compensations; the last row of history.
#include <utility>

#include "common/base/json.hpp"
#include "resumer/run_abandoned.hpp"
#include "resumer/run_core.hpp"

namespace romancy::resumer {

void RunCore::body_ended() {
  std::string output;
  bool completed = false;
  try {
    output = body_.take();
    completed = true;
  } catch (const Abandoned&) {
    return;  // a mismatch stopped the code; nothing of this run counts
  } catch (const WorkflowCancelled& e) {
    end_kind_ = HistoryKind::cancelled;
    end_message_ = e.reason();
  } catch (...) {
    auto error = detail::current_error();
    end_kind_ = HistoryKind::failed;
    end_type_ = std::move(error.type);
    end_message_ = std::move(error.message);
  }
  body_ = {};
  if (held_cancel_) pending_.consumed.push_back(*std::exchange(held_cancel_, std::nullopt));  // too late
  if (completed) return finish(HistoryKind::completed, std::move(output));
  next_compensation();
}

void RunCore::next_compensation() {
  if (!compensations_.empty()) {
    status_ = Status::compensating;
    Compensation next = std::move(compensations_.back());
    compensations_.pop_back();
    Open open{.waits = Waits::activity, .name = std::move(next.activity), .phase = Phase::to_start, .shielded = true};
    open.input = std::move(next.input);
    opens_.emplace(next.op, std::move(open));
    return;
  }
  Json end = end_kind_ == HistoryKind::failed ? Json{{"type", end_type_}, {"message", end_message_}}
                                              : Json{{"reason", end_message_}};
  if (!uncompensated_.empty()) {
    Json& list = end["compensations_failed"] = Json::array();
    for (const std::string& failure : uncompensated_) list.push_back(Json::parse(failure));
  }
  finish(end_kind_, dump_json(end));
}

void RunCore::compensated(const std::string& activity, const detail::Answer& answer) {
  if (answer.kind == detail::Answer::Kind::failed) {
    uncompensated_.push_back(dump_json(Json{{"activity", activity},
                                            {"type", answer.error_type},
                                            {"message", answer.error_message},
                                            {"attempt", answer.attempt}}));
  }
  next_compensation();
}

void RunCore::finish(HistoryKind kind, std::string data) {
  if (!history_.command(kind, 0, {}, std::move(data))) return;
  status_ = kind == HistoryKind::completed ? Status::completed
            : kind == HistoryKind::failed  ? Status::failed
                                           : Status::cancelled;
}

}  // namespace romancy::resumer
