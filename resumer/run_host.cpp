// What the code does: asks that wait, and commands that are recorded on the spot.
#include <exception>
#include <utility>

#include "common/base/json.hpp"
#include "common/base/log.hpp"
#include "resumer/run_abandoned.hpp"
#include "resumer/run_core.hpp"
#include "resumer/sdk_names.hpp"

namespace romancy::resumer {
namespace {

void check_name(std::string_view what, std::string_view name) {
  if (const auto problem = name_problem(name); !problem.empty()) throw BadData(std::string(what) + ": " + problem);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- asks

bool RunCore::cancelled_here(detail::Ask& ask) {
  if (!cancel_requested_ || shield_ > 0) return false;
  ask.answer({.kind = detail::Answer::Kind::cancelled, .data = cancel_reason_}, driver_);
  return true;
}

// After a mismatch an ask is never answered, so the code stands still where it is.
void RunCore::open_activity(detail::Ask& ask, const std::string& name, std::string input) {
  if (history_.broken() || cancelled_here(ask)) return;
  Open open{.waits = Waits::activity, .name = name, .ask = &ask, .phase = Phase::to_start, .shielded = shield_ > 0};
  open.may_run = cautious_;
  open.input = std::move(input);
  opens_.emplace(ask.op(), std::move(open));
}

void RunCore::open_sleep(detail::Ask& ask, std::optional<std::chrono::microseconds> after,
                         std::optional<std::int64_t> at_micros) {
  if (history_.broken() || cancelled_here(ask)) return;
  TimerStart timer{ask.op(), TimerKind::sleep, after, std::nullopt};
  if (at_micros) timer.at = utc_time(*at_micros);
  const auto done = history_.command(
      HistoryKind::timer_started, ask.op(), "sleep",
      timer.at ? R"({"at":")" + *timer.at + R"("})" : R"({"after_us":)" + std::to_string(after->count()) + "}");
  if (!done) return;
  if (!done->played) pending_.timers.push_back(std::move(timer));
  opens_.emplace(ask.op(),
                 Open{.waits = Waits::sleep, .name = "sleep", .ask = &ask, .shielded = shield_ > 0, .timed = true});
}

void RunCore::open_receive(detail::Ask& ask, const std::string& channel,
                           std::optional<std::chrono::microseconds> within) {
  check_name("receive: channel", channel);
  if (history_.broken() || cancelled_here(ask)) return;
  const auto done = history_.command(HistoryKind::wait_started, ask.op(), channel,
                                     within ? R"({"within_us":)" + std::to_string(within->count()) + "}" : "null");
  if (!done) return;
  if (!done->played && within) pending_.timers.push_back({ask.op(), TimerKind::timeout, within, std::nullopt});
  opens_.emplace(
      ask.op(),
      Open{
          .waits = Waits::message, .name = channel, .ask = &ask, .shielded = shield_ > 0, .timed = within.has_value()});
}

void RunCore::withdraw(std::int32_t op) noexcept {
  const auto found = opens_.find(op);
  if (found == opens_.end()) return;
  if (found->second.timed && !dying_) over(op);
  opens_.erase(found);
}

// ------------------------------------------------------------------------------------------------------------ commands

// Destructors of the code call here while it is destroyed (the instance leaves memory, or a mismatch unwinds it). They
// must not be heard: the workflow is not at this point of its program. They cannot be told by an exception either.
bool RunCore::refused(std::string_view call) const {
  if (!dying_ && !(history_.broken() && std::uncaught_exceptions() > 0)) return false;
  log::warn("context call from a destructor refused",
            {{"instance_id", info_.instance_id}, {"workflow_name", info_.workflow_name}, {"call", call}});
  return true;
}

History::Command RunCore::command(HistoryKind kind, std::int32_t op, std::string_view name, std::string data) {
  auto done = history_.command(kind, op, name, std::move(data));
  if (!done) throw Abandoned{};
  return std::move(*done);
}

void RunCore::subscribe(std::string_view channel, bool on) {
  if (refused(on ? "subscribe" : "unsubscribe")) return;
  check_name(on ? "subscribe: channel" : "unsubscribe: channel", channel);
  const auto done = command(on ? HistoryKind::subscribed : HistoryKind::unsubscribed, next_op(), channel, "null");
  if (!done.played) pending_.subscriptions.push_back({std::string(channel), on, 0, ChannelMode::broadcast});
}

void RunCore::publish(std::string_view channel, std::string data, std::string metadata, std::optional<std::string> to) {
  if (refused("publish")) return;
  check_name("publish: channel", channel);
  if (to) check_name("publish: to", *to);
  const auto done = command(HistoryKind::published, next_op(), channel, to ? dump_json(Json{{"to", *to}}) : "null");
  if (!done.played)
    pending_.messages.push_back({std::string(channel), std::move(data), std::move(metadata), std::move(to), std::nullopt});
}

void RunCore::send_event(std::string_view type, std::string_view source, std::string data, std::string content_type) {
  if (refused("send_event")) return;
  check_name("send_event: type", type);
  check_name("send_event: source", source);
  check_name("send_event: content_type", content_type);
  const std::int32_t op = next_op();
  std::string id = operation_key(info_.instance_id, op, info_.generation);
  const auto done = command(HistoryKind::event_sent, op, type, dump_json(Json{{"event_id", id}}));
  if (!done.played) {
    pending_.outbox.push_back(
        {std::move(id), std::string(type), std::string(source), std::move(data), std::move(content_type)});
  }
}

void RunCore::compensate_with(const std::string& activity, std::string input) {
  if (refused("compensate_with")) return;
  if (history_.broken()) throw Abandoned{};
  // It takes its operation number here, so that its key is the same in every replay.
  compensations_.push_back({next_op(), activity, std::move(input)});
}

std::int64_t RunCore::now_micros() {
  if (refused("now")) return clock_;
  const auto done = command(HistoryKind::side_effect, next_op(), "now", std::to_string(clock_));
  if (!done.played) return clock_;
  const auto recorded = parse_json(done.data, "history");
  return recorded && recorded->is_number_integer() ? recorded->get<std::int64_t>() : 0;
}

std::string RunCore::uuid() {
  return operation_uuid(info_.instance_id, next_op(), info_.generation);
}

std::uint64_t RunCore::random() {
  return operation_random(info_.instance_id, next_op(), info_.generation);
}

}  // namespace romancy::resumer
