#include "resumer/observer.hpp"

#include <chrono>
#include <exception>

#include "common/base/log.hpp"

namespace romancy::resumer {
namespace {

using Moment = Hooks::Moment;

Moment moment(const Observer::Instance& instance, std::int64_t clock_us) {
  Moment at;
  at.instance_id = instance.instance_id;
  at.workflow_name = instance.workflow_name;
  at.generation = instance.generation;
  at.at = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::microseconds(clock_us)));
  return at;
}

template <class Call>
void guarded(const Moment& at, Call&& call) noexcept {
  std::string_view what = "an exception that is not a std::exception";
  try {
    return call();
  } catch (const std::exception& e) {
    log::error("a hook threw", {{"instance_id", at.instance_id}, {"workflow_name", at.workflow_name}, {"error", e.what()}});
    return;
  } catch (...) {
  }
  log::error("a hook threw", {{"instance_id", at.instance_id}, {"workflow_name", at.workflow_name}, {"error", what}});
}

void tell(Hooks& hooks, HistoryKind kind, const Moment& at) {
  switch (kind) {
    case HistoryKind::started: return hooks.workflow_started(at);
    case HistoryKind::activity_completed: return hooks.activity_completed(at);
    case HistoryKind::activity_failed: return hooks.activity_failed(at);
    case HistoryKind::activity_retry: return hooks.activity_retrying(at);
    case HistoryKind::timer_started: return hooks.timer_started(at);
    case HistoryKind::timer_fired: return hooks.timer_fired(at);
    case HistoryKind::wait_started: return hooks.wait_started(at);
    case HistoryKind::message_received: return hooks.message_received(at);
    case HistoryKind::wait_timed_out: return hooks.wait_timed_out(at);
    case HistoryKind::subscribed: return hooks.subscribed(at);
    case HistoryKind::unsubscribed: return hooks.unsubscribed(at);
    case HistoryKind::published: return hooks.published(at);
    case HistoryKind::event_sent: return hooks.event_sent(at);
    case HistoryKind::side_effect: return hooks.side_effect(at);
    case HistoryKind::cancel_requested: return hooks.cancel_requested(at);
    case HistoryKind::completed: return hooks.workflow_completed(at);
    case HistoryKind::failed: return hooks.workflow_failed(at);
    case HistoryKind::cancelled: return hooks.workflow_cancelled(at);
    case HistoryKind::recurred: return hooks.workflow_recurred(at);
    case HistoryKind::joined: return hooks.joined(at);
    case HistoryKind::left: return hooks.left(at);
    case HistoryKind::subscription_refused: return hooks.subscription_refused(at);
    case HistoryKind::compensation_decided: return hooks.compensation_decided(at);
    case HistoryKind::child_started: return hooks.child_started(at);
    case HistoryKind::child_completed: return hooks.child_completed(at);
    case HistoryKind::child_failed: return hooks.child_failed(at);
    case HistoryKind::start_sent: return hooks.start_sent(at);
    case HistoryKind::cancel_sent: return hooks.cancel_sent(at);
    case HistoryKind::patched: return hooks.patched(at);
    case HistoryKind::activity_queued: return hooks.activity_queued(at);
  }
}

}  // namespace

void Observer::committed(const Instance& instance, std::span<const HistoryRow> rows, std::int64_t clock_us) const {
  if (!hooks_) return;
  Moment at = moment(instance, clock_us);
  for (const HistoryRow& row : rows) {
    at.seq = row.seq;
    at.op = row.op;
    at.name = row.name;
    at.data = row.data.empty() ? std::string_view("null") : std::string_view(row.data);
    guarded(at, [&] { tell(*hooks_, row.kind, at); });
  }
}

void Observer::compensating(const Instance& instance, std::int64_t clock_us) const {
  if (!hooks_) return;
  const Moment at = moment(instance, clock_us);
  guarded(at, [&] { hooks_->compensating(at); });
}

void Observer::parked(const Instance& instance, std::string_view why, std::int64_t clock_us) const {
  if (!hooks_) return;
  Moment at = moment(instance, clock_us);
  at.data = why;
  guarded(at, [&] { hooks_->workflow_parked(at); });
}

void Observer::replayed(const Instance& instance, std::int64_t rows, std::int64_t clock_us) const {
  if (!hooks_) return;
  const Moment at = moment(instance, clock_us);
  guarded(at, [&] { hooks_->replayed(at, rows); });
}

void Observer::attempt_started(const Instance& instance, std::int32_t op, std::string_view activity, int attempt,
                               std::int64_t clock_us) const {
  if (!hooks_) return;
  Moment at = moment(instance, clock_us);
  at.op = op;
  at.name = activity;
  guarded(at, [&] { hooks_->attempt_started(at, attempt); });
}

void Observer::attempt_ended(const Instance& instance, std::int32_t op, std::string_view activity, int attempt, bool ok,
                             std::int64_t clock_us) const {
  if (!hooks_) return;
  Moment at = moment(instance, clock_us);
  at.op = op;
  at.name = activity;
  guarded(at, [&] { hooks_->attempt_ended(at, attempt, ok); });
}

}  // namespace romancy::resumer
