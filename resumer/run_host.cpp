// What the code does: asks that wait, and commands that are recorded on the spot.
#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

#include "common/base/json.hpp"
#include "common/base/log.hpp"
#include "resumer/run_abandoned.hpp"
#include "resumer/run_core.hpp"
#include "resumer/sdk_names.hpp"

namespace romancy::resumer {
namespace {

// As task_pause() and claim_activity_tasks() read it.
std::string policy_of(const ActivityOptions& options) {
  const RetryPolicy& retry = options.retry;
  return dump_json(Json{{"attempts", retry.attempts},
                        {"first_ms", retry.first_interval.count()},
                        {"coefficient", retry.coefficient},
                        {"max_ms", retry.max_interval.count()},
                        {"jitter", retry.jitter},
                        {"max_duration_ms", retry.max_duration.count()},
                        {"non_retryable", retry.non_retryable},
                        {"timeout_ms", options.timeout.count()},
                        {"heartbeat_ms", options.heartbeat_timeout.count()}});
}

// As lane_of() in sql/engine/lanes.sql.
std::string lane_of(const detail::NewInstance& instance) { return std::to_string(5 - instance.priority) + instance.key; }

void check_name(std::string_view what, std::string_view name) {
  if (const auto problem = name_problem(name); !problem.empty()) throw BadData(std::string(what) + ": " + problem);
}

constexpr std::size_t kMaxProgressBytes = 16384;

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- asks

bool RunCore::cancelled_here(detail::Ask& ask) {
  const detail::Scope* by = ask.scope().cancelled_by();
  if (by == nullptr) return false;
  if (++refusals_ > kMostRefusals) return true;  // it stands still: drive() ends it
  ask.answer({.kind = detail::Answer::Kind::cancelled, .data = by->reason});
  return true;
}

// After a mismatch an ask is never answered, so the code stands still where it is.
void RunCore::open_activity(detail::Ask& ask, const ActivityRef& activity, std::string input) {
  if (refused("run")) return;
  if (history_.broken() || cancelled_here(ask)) return;
  need_room(ask.op());
  // It need not be registered here, so nobody has looked at its options yet.
  if (!activity.options().queue.empty()) {
    check_name("run: activity", activity.name());
    check_name("run: queue", activity.options().queue);
    if (const auto problem = detail::options_problem(activity.options()); !problem.empty())
      throw BadData("run: activity " + activity.name() + ": " + problem);
  }
  await_activity(ask.op(), &ask, activity, std::move(input));
}

// ask: null for a compensation.
void RunCore::await_activity(std::int32_t op, detail::Ask* ask, const ActivityRef& activity, std::string input) {
  const std::string& queue = activity.options().queue;
  Open open{.waits = Waits::activity, .name = activity.name(), .ask = ask, .phase = queue.empty() ? Phase::to_start : Phase::queued};
  open.input = std::move(input);
  open.may_run = cautious_ && ask != nullptr;
  if (!queue.empty()) {
    const auto done = history_.command(HistoryKind::activity_queued, op, open.name, dump_json(Json{{"queue", queue}}));
    if (!done) return;
    if (!done->played) {
      pending_.tasks.push_back({op, open.name, queue, std::exchange(open.input, {}),
                                operation_key(info_.instance_id, op, info_.generation), policy_of(activity.options())});
    }
  }
  opens_.emplace(op, std::move(open));
}

void RunCore::open_sleep(detail::Ask& ask, std::optional<std::chrono::microseconds> after,
                         std::optional<std::int64_t> at_micros) {
  if (refused("sleep")) return;
  if (history_.broken() || cancelled_here(ask)) return;
  need_room(ask.op());
  TimerStart timer{ask.op(), TimerKind::sleep, after, std::nullopt};
  if (at_micros) timer.at = utc_time(*at_micros);
  const auto done = history_.command(
      HistoryKind::timer_started, ask.op(), "sleep",
      timer.at ? R"({"at":")" + *timer.at + R"("})" : R"({"after_us":)" + std::to_string(after->count()) + "}");
  if (!done) return;
  if (!done->played) pending_.timers.push_back(std::move(timer));
  opens_.emplace(ask.op(),
                 Open{.waits = Waits::sleep, .name = "sleep", .ask = &ask, .timed = true});
}

void RunCore::open_receive(detail::Ask& ask, const std::string& channel,
                           std::optional<std::chrono::microseconds> within, bool subscribe) {
  if (refused("receive")) return;
  check_name("receive: channel", channel);
  if (history_.broken() || cancelled_here(ask)) return;
  need_room(ask.op());
  if (subscribe && !channels_.contains(channel)) this->subscribe(channel, true, false);
  const auto done = history_.command(HistoryKind::wait_started, ask.op(), channel,
                                     within ? R"({"within_us":)" + std::to_string(within->count()) + "}" : "null");
  if (!done) return;
  const auto state = channels_.find(channel);
  if (state != channels_.end() && !state->second.refused.empty()) return ask.answer(refusal(channel));
  const bool competing = state != channels_.end() && state->second.competing;
  if (!done->played && within) pending_.timers.push_back({ask.op(), TimerKind::timeout, within, std::nullopt});
  if (!done->played && competing) pending_.waits.push_back({ask.op(), channel});
  opens_.emplace(ask.op(),
                 Open{.waits = Waits::message, .name = channel, .ask = &ask, .timed = within.has_value(), .listed = competing});
}

// An id of its own tells a child from all others, in this generation and every other; one that would be too long is a
// hash of where it is.
void RunCore::name_instance(std::int32_t op, detail::NewInstance& instance, const char* call) const {
  const std::string what(call);
  check_name(what + ": workflow", instance.workflow);
  check_name(what + ": queue", instance.queue);
  if (instance.id.empty()) {
    instance.id = info_.instance_id + "/" + (info_.generation > 0 ? std::to_string(info_.generation) + "." : "") +
                  std::to_string(op);
    if (!name_problem(instance.id).empty()) instance.id = operation_uuid(info_.instance_id, op, info_.generation);
  }
  check_name(what + ": id", instance.id);
  if (instance.priority < -4 || instance.priority > 4)
    throw std::invalid_argument(what + ": priority: " + std::to_string(instance.priority) + " is not in -4 .. 4");
  if (!instance.key.empty()) check_name(what + ": key", instance.key);
}

// Throws Abandoned at a mismatch.
void RunCore::begin_child(std::int32_t op, detail::NewInstance child, std::int32_t awaited_by) {
  const auto done = command(HistoryKind::child_started, op, child.workflow, dump_json(Json{{"id", child.id}}));
  children_.emplace(op, Child{.workflow = child.workflow, .id = child.id, .follows = child.follows, .awaited_by = awaited_by});
  if (done.played) return;
  pending_.children.push_back({op, std::move(child.id), std::move(child.workflow), std::move(child.queue),
                               std::move(child.input), child.follows, lane_of(child)});
}

void RunCore::open_child(detail::Ask& ask, detail::NewInstance child) {
  if (refused("child")) return;
  name_instance(ask.op(), child, "child");
  if (history_.broken() || cancelled_here(ask)) return;
  const std::string workflow = child.workflow;
  begin_child(ask.op(), std::move(child), ask.op());
  opens_.emplace(ask.op(), Open{.waits = Waits::child, .name = workflow, .ask = &ask});
}

void RunCore::open_child_end(detail::Ask& ask, std::int32_t op) {
  if (refused("result")) return;
  if (history_.broken() || cancelled_here(ask)) return;
  Child& child = children_.at(op);
  if (child.ended) return ask.answer(*child.ended);
  if (child.awaited_by != 0) throw std::logic_error("romancy::Child: awaited by two at once");
  child.awaited_by = ask.op();
  opens_.emplace(ask.op(), Open{.waits = Waits::child, .name = child.workflow, .ask = &ask});
}

detail::Host::Started RunCore::start_child(detail::NewInstance child) {
  if (refused("start_child")) return {0, {}};
  const std::int32_t op = next_op();
  name_instance(op, child, "start_child");
  std::string id = child.id;
  begin_child(op, std::move(child), 0);
  return {op, std::move(id)};
}

std::string RunCore::start_workflow(detail::NewInstance instance) {
  if (refused("start_workflow")) return {};
  const std::int32_t op = next_op();
  name_instance(op, instance, "start_workflow");
  std::string id = instance.id;
  const auto done = command(HistoryKind::start_sent, op, instance.workflow, dump_json(Json{{"id", id}}));
  if (!done.played) {
    pending_.children.push_back({0, id, std::move(instance.workflow), std::move(instance.queue),
                                 std::move(instance.input), false, lane_of(instance)});
  }
  return id;
}

void RunCore::cancel_workflow(std::string_view instance_id, std::string_view reason) {
  if (refused("cancel_workflow")) return;
  check_name("cancel_workflow: instance_id", instance_id);
  if (reason.size() > 4096) throw BadData("cancel_workflow: reason: longer than 4096 bytes");
  const auto done =
      command(HistoryKind::cancel_sent, next_op(), instance_id, dump_json(Json{{"reason", std::string(reason)}}));
  if (!done.played) pending_.cancels.push_back({std::string(instance_id), std::string(reason)});
}

// No row of history and no operation: what is said in replay was committed with the event that the code is told, and a
// call that is new or gone changes nothing else.
void RunCore::set_status(std::string value) {
  if (refused("set_status")) return;
  if (history_.broken()) throw Abandoned{};
  if (value.size() > kMaxProgressBytes)
    throw BadData("set_status: longer than " + std::to_string(kMaxProgressBytes) + " bytes");
  if (!in_replay_) pending_.progress = std::move(value);
}

// Passes the marker of this patch, should it be what history has next.
bool RunCore::marked(std::string_view id) {
  const HistoryRow* recorded = history_.next();
  if (recorded == nullptr || recorded->kind != HistoryKind::patched || recorded->name != id) return false;
  command(HistoryKind::patched, next_op(), id, "null");
  return true;
}

// Markers are commands, so one that was written stands exactly here. Where history is told and has none, the old code has
// been here; also behind its last row, because what that asked for (an activity) may be under way. It leaves no trace
// then: no row, no operation.
bool RunCore::patched(std::string_view id) {
  if (refused("patched")) return false;
  check_name("patched: id", id);
  if (history_.broken()) throw Abandoned{};
  if (const auto known = patches_.find(id); known != patches_.end()) return known->second;
  bool now = marked(id);
  // The first activity begins before anything is on record.
  const bool begun = cautious_ && history_.last_seq() <= 1;
  if (!now && !rebuilding_ && !begun) {
    command(HistoryKind::patched, next_op(), id, "null");
    now = true;
  }
  return patches_.emplace(id, now).first->second;
}

void RunCore::deprecate_patch(std::string_view id) {
  if (refused("deprecate_patch")) return;
  check_name("deprecate_patch: id", id);
  if (history_.broken()) throw Abandoned{};
  marked(id);
  patches_.insert_or_assign(std::string(id), true);
}

void RunCore::withdraw(std::int32_t op) noexcept {
  const auto found = opens_.find(op);
  if (found == opens_.end()) return;
  if (!dying_) {
    leave(op, found->second);
    over(op, found->second);
  }
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

// In replay as in life, so by the rows until here; but what is recorded was allowed (the limit was another one).
void RunCore::need_room(std::int32_t op) const {
  const std::int64_t most = 2 * workflow_.options().max_history;
  if (history_.last_seq() < most || history_.plays(op)) return;
  throw std::length_error("its history has " + std::to_string(history_.last_seq()) + " rows: no more may be written");
}

History::Command RunCore::command(HistoryKind kind, std::int32_t op, std::string_view name, std::string data) {
  if (!history_.broken()) need_room(op);
  auto done = history_.command(kind, op, name, std::move(data));
  if (!done) throw Abandoned{};
  return std::move(*done);
}

void RunCore::subscribe(std::string_view channel, bool on, bool competing) {
  if (refused(on ? "subscribe" : "unsubscribe")) return;
  check_name(on ? "subscribe: channel" : "unsubscribe: channel", channel);
  const std::int32_t op = next_op();
  const auto done = command(on ? HistoryKind::subscribed : HistoryKind::unsubscribed, op, channel,
                            on && competing ? R"({"mode":"competing"})" : "null");
  if (on) channels_[std::string(channel)] = {op, competing, {}};
  else channels_.erase(std::string(channel));
  // What waits on the channel already takes part in the distribution from here on; or no more, and the commit deletes
  // its waits with the subscription.
  for (auto& [at, open] : opens_) {
    if (open.waits != Waits::message || open.name != channel) continue;
    const bool listed = on && competing;
    if (open.listed == listed) continue;
    open.listed = listed;
    if (listed && !done.played) pending_.waits.push_back({at, open.name});
    if (!listed) std::erase_if(pending_.waits, [&, op = at](const MessageWait& wait) { return wait.op == op; });
  }
  if (done.played) return;
  pending_.subscriptions.push_back(
      {std::string(channel), on, op, competing ? ChannelMode::competing : ChannelMode::broadcast});
  if (!on) {  // what came by distribution and was not received is for others
    for (const std::int64_t id : mailbox_.give_back(std::string(channel))) pending_.given_back.push_back(id);
  }
}

void RunCore::join(std::string_view group, bool on) {
  if (refused(on ? "join" : "leave")) return;
  check_name(on ? "join: group" : "leave: group", group);
  const auto done = command(on ? HistoryKind::joined : HistoryKind::left, next_op(), group, "null");
  if (!done.played) pending_.groups.push_back({std::string(group), on});
}

void RunCore::publish(detail::Publication publication) {
  if (refused("publish")) return;
  auto& [channel, data, metadata, to, to_group] = publication;
  check_name("publish: channel", channel);
  if (to) check_name("publish: to", *to);
  if (to_group) check_name("publish: to_group", *to_group);
  const auto done = command(HistoryKind::published, next_op(), channel,
                            to         ? dump_json(Json{{"to", *to}})
                            : to_group ? dump_json(Json{{"to_group", *to_group}})
                                       : "null");
  if (!done.played) {
    pending_.messages.push_back(
        {std::string(channel), std::move(data), std::move(metadata), std::move(to), std::move(to_group)});
  }
}

void RunCore::send_event(std::string_view type, std::string_view source, std::string data, std::string content_type) {
  if (refused("send_event")) return;
  check_name("send_event: type", type);
  check_name("send_event: source", source);
  check_name("send_event: content_type", content_type);
  const std::int32_t op = next_op();
  // Apart from all that add_outbox_event takes: no application's open transaction can hold up the commit of this row.
  std::string id = operation_key(info_.instance_id, op, info_.generation) + ":event";
  const auto done = command(HistoryKind::event_sent, op, type, dump_json(Json{{"event_id", id}}));
  if (!done.played) {
    pending_.outbox.push_back(
        {std::move(id), std::string(type), std::string(source), std::move(data), std::move(content_type)});
  }
}

void RunCore::compensate_with(const ActivityRef& activity, std::string input) {
  if (refused("compensate_with")) return;
  if (!activity.options().queue.empty()) {
    check_name("compensate_with: activity", activity.name());
    check_name("compensate_with: queue", activity.options().queue);
    if (const auto problem = detail::options_problem(activity.options()); !problem.empty())
      throw BadData("compensate_with: activity " + activity.name() + ": " + problem);
  }
  if (history_.broken()) throw Abandoned{};
  // It takes its operation number here, so that its key is the same in every replay.
  compensations_.push_back({next_op(), activity, std::move(input)});
}

void RunCore::forget_compensations() {
  if (refused("forget_compensations")) return;
  compensations_.clear();
}

std::string RunCore::side_effect(std::string_view name, const std::function<std::string()>& make) {
  if (refused("side_effect")) return "null";
  check_name("side_effect: name", name);
  const std::int32_t op = next_op();
  std::string value = "null";
  if (!history_.playing()) {  // else it is recorded
    try {
      value = make();
    } catch (const Abandoned&) {
      throw;
    } catch (...) {
      const auto error = detail::current_error();
      value = dump_json(Json{{"$error", {{"type", error.type}, {"message", error.message}}}});
    }
  }
  const auto done = command(HistoryKind::side_effect, op, name, value);
  if (done.played) value = done.data;
  if (value.find("$error") == std::string::npos) return value;
  const auto row = parse_json(value, "history");
  if (!row || !row->is_object() || row->size() != 1 || !row->contains("$error")) return value;
  const Json& error = row->front();
  throw SideEffectError(std::string(name), error.value("type", ""), error.value("message", ""));
}

void RunCore::log(int level, std::string_view text, const std::string& fields) {
  if (replaying() || dying_) return;
  const auto given = parse_json(fields, "log: fields");
  std::vector<log::Field> all{{"instance_id", info_.instance_id}, {"workflow_name", info_.workflow_name}};
  if (given && given->is_object()) {
    for (const auto& [key, value] : given->get_ref<const Json::object_t&>())
      all.emplace_back(key, value.is_string() ? value.get<std::string>() : dump_json(value));
  }
  constexpr log::Level kLevels[] = {log::Level::debug, log::Level::info, log::Level::warn, log::Level::error};
  log::write(kLevels[std::clamp(level, 0, 3)], text, all);
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
