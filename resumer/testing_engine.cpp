#include "resumer/testing_engine.hpp"

#include <algorithm>
#include <limits>

#include "common/base/json.hpp"
#include "resumer/history.hpp"

namespace romancy::testing {

using resumer::InboxKind;
using resumer::Status;

namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

std::int64_t micros(std::chrono::system_clock::time_point moment) {
  return std::chrono::duration_cast<std::chrono::microseconds>(moment.time_since_epoch()).count();
}

std::string_view name_of(Status status) {
  constexpr std::string_view kNames[] = {"running", "completed", "failed", "cancelled", "stuck", "compensating"};
  return kNames[static_cast<std::size_t>(status) - 1];
}

std::string text_of(const Json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::unique_ptr<detail::Engine> detail::make_engine(const std::vector<WorkflowRef>& workflows,
                                                    const std::vector<ActivityRef>& activities, const Options& options) {
  return std::make_unique<World>(workflows, activities, options);
}

World::World(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities, const Options& options)
    : clock_us(micros(options.starts_at)), options_(options), starts_us_(clock_us), workflows_(workflows), activities_(activities) {
  rebuild_registry();
}

void World::rebuild_registry() {
  std::vector<ActivityRef> all = activities_;
  for (const auto& [name, mocked] : mocked_activities_) {
    const bool given = std::any_of(all.begin(), all.end(), [&](const ActivityRef& one) { return one.name() == mocked.script->name; });
    if (mocked.activity && !given && mocked.activity->definition().kind() != romancy::detail::ActivityKind::elsewhere)
      all.push_back(*mocked.activity);
  }
  auto made = resumer::Registry::make(workflows_, all);
  if (!made) throw Failure("Environment: " + made.error().text);
  // In place: runs refer to it.
  if (registry_) *registry_ = std::move(*made);
  else registry_ = std::make_unique<resumer::Registry>(std::move(*made));
}

void World::deploy(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) {
  for (Live* one : order_) one->evict();  // before the code they run goes
  workflows_ = workflows;
  activities_ = activities;
  rebuild_registry();
  for (Live* one : order_) {
    one->resume();
    one->lose(false);
  }
}

// --------------------------------------------------------------------------------------------------------------- mocks

std::shared_ptr<detail::MockScript> World::mock_activity(const ActivityRef& activity) {
  Mocked& mocked = mocked_activities_[activity.name()];
  if (!mocked.script) {
    mocked.script = std::make_shared<detail::MockScript>();
    mocked.script->name = activity.name();
  }
  mocked.activity = activity;
  rebuild_registry();
  return mocked.script;
}

std::shared_ptr<detail::MockScript> World::mock_workflow(const std::string& name) {
  auto& script = mocked_workflows_[name];
  if (!script) {
    script = std::make_shared<detail::MockScript>();
    script->name = name;
  }
  return script;
}

namespace {

World::Outcome next_of(detail::MockScript& script, Call call, Attempt& attempt) {
  if (script.steps.empty()) {
    throw Failure("'" + script.name + "' is mocked, but the test does not say what comes of it: returns(), fails(), does() or hangs()");
  }
  if (script.used >= script.steps[script.next].times && script.next + 1 < script.steps.size()) {
    ++script.next;
    script.used = 0;
  }
  ++script.used;
  detail::MockStep& step = script.steps[script.next];
  const std::string input = call.input;
  script.calls.push_back(std::move(call));
  if (!step.act) return {};
  return {step.act(attempt, input), step.takes};
}

// What the attempts of one call tell each other.
class Told : public romancy::detail::TaskDetails {
 public:
  explicit Told(std::optional<std::string>& kept) : kept_(kept), former_(kept) {}
  void keep(std::string json) override { kept_ = std::move(json); }
  [[nodiscard]] const std::optional<std::string>& former() const override { return former_; }

 private:
  std::optional<std::string>& kept_;
  const std::optional<std::string> former_;
};

}  // namespace

World::Outcome World::attempt(const std::string& instance_id, const std::string& name, const std::string& input, int number,
                              const std::string& key) {
  if (name == "romancy.group_members") {
    const auto group = parse_json(input, "group");
    Json ids = Json::array();
    for (const auto& [id, one] : instances_) {  // in the order of their ids
      if (group && group->is_string() && one->groups.contains(group->get<std::string>())) ids.push_back(id);
    }
    return {{.ok = true, .data = dump_json(ids)}, std::chrono::microseconds(0)};
  }
  const Call call{instance_id, name, key, input, number, elapsed()};
  attempts_.push_back(call);
  const ActivityRef* ref = known(name);
  const bool queued = ref != nullptr && !ref->options().queue.empty();
  std::optional<Told> told;
  if (queued) told.emplace(details_[key]);
  Attempt attempt(instance_id, number, key, {}, told ? &*told : nullptr);
  if (const auto mocked = mocked_activities_.find(name); mocked != mocked_activities_.end())
    return next_of(*mocked->second.script, call, attempt);
  const ActivityRef* activity = registry_->activity(name);
  switch (activity->definition().kind()) {
    case romancy::detail::ActivityKind::blocking: return {activity->run(attempt, input), std::chrono::microseconds(0)};
    case romancy::detail::ActivityKind::transactional:
      throw Failure("activity '" + name + "' is transactional, it needs a database: mock it (env.mock(" + name + ").does(..))");
    case romancy::detail::ActivityKind::asynchronous:
      throw Failure("activity '" + name + "' is asynchronous, it needs a worker's loop: mock it (env.mock(" + name + ").does(..))");
    case romancy::detail::ActivityKind::elsewhere: break;
  }
  throw Failure("activity '" + name + "' is carried out elsewhere: mock it");
}

const ActivityRef* World::known(const std::string& activity) const {
  const auto mocked = mocked_activities_.find(activity);
  return mocked != mocked_activities_.end() ? &*mocked->second.activity : registry_->activity(activity);
}

// ----------------------------------------------------------------------------------------------------------- instances

Live& World::the(const std::string& id) {
  if (order_.empty()) throw Failure("nothing was started");
  if (id.empty()) return *order_.front();
  const auto found = instances_.find(id);
  if (found != instances_.end()) return *found->second;
  std::string all;
  for (const Live* one : order_) all += (all.empty() ? "" : ", ") + one->id();
  throw Failure("there is no instance '" + id + "'; there are: " + all);
}

const Live& World::the(const std::string& id) const { return const_cast<World*>(this)->the(id); }

Live* World::active(const std::string& id) {
  const auto found = instances_.find(id);
  return found != instances_.end() && !is_final(found->second->status) ? found->second.get() : nullptr;
}

Live& World::make(const std::string& id, const std::string& workflow, const std::string& input, const std::string& parent,
                  std::int32_t op, int generation, bool follows) {
  ids_.insert(id);
  auto made = std::make_unique<Live>(*this, parent, op, generation, follows);
  Live& one = *made;
  instances_.emplace(id, std::move(made));
  order_.push_back(&one);
  one.evict_always = options_.forget_at_every_step;
  one.dies = [this] {
    const bool now = points_++ == die_at_;
    died_ = died_ || now;
    return now;
  };
  one.start(workflow, input, id);
  return one;
}

std::string World::start(const std::string& workflow, const std::string& input, const std::string& wanted) {
  if (registry_->workflow(workflow) == nullptr) throw Failure("start: workflow '" + workflow + "' was not given to the Environment");
  std::string id = wanted;
  for (int n = 1; id.empty(); ++n) {
    if (const auto next = workflow + "-" + std::to_string(n); !ids_.contains(next)) id = next;
  }
  if (ids_.contains(id)) throw Failure("start: there is an instance '" + id + "' already");
  make(id, workflow, input, {}, 0, 0, false);
  return id;
}

void World::start_other(Live& by, const resumer::ChildStart& start, int generation) {
  started_.push_back({by.id(), start.id, start.workflow, start.input, start.op != 0});
  if (ids_.contains(start.id)) {
    if (start.op != 0) by.child_failed(start.op, "ChildRefused", "there is an instance '" + start.id + "' already", "refused");
    return;
  }
  const std::string parent = start.op != 0 ? by.id() : std::string();
  if (mocked_workflows_.contains(start.workflow) || registry_->workflow(start.workflow) == nullptr) return start_outside(by, start, generation);
  make(start.id, start.workflow, start.input, parent, start.op, generation, start.follows);
}

void World::start_outside(Live& by, const resumer::ChildStart& start, int generation) {
  ids_.insert(start.id);
  outside_.emplace(start.id, Outside{start.workflow, start.op != 0 ? by.id() : std::string(), start.op, generation, start.follows, true});
  const auto mocked = mocked_workflows_.find(start.workflow);
  if (mocked == mocked_workflows_.end()) return;
  Attempt attempt(start.id, 1, start.id, {});
  auto outcome = next_of(*mocked->second, {start.id, start.workflow, start.id, start.input, 1, elapsed()}, attempt);
  if (!outcome.takes) return;
  outside_.at(start.id).by_hand = false;
  later(clock_us + outcome.takes->count(),
        [this, id = start.id, result = std::move(outcome.result)] { end_outside(id, result, result.ok ? "completed" : "failed"); });
}

void World::end_outside(const std::string& id, AttemptResult result, const std::string& how) {
  const auto gone = outside_.extract(id);
  if (gone) tell_parent(gone.mapped().parent, gone.mapped().op, gone.mapped().generation, result, how);
}

void World::tell_parent(const std::string& parent, std::int32_t op, int generation, const AttemptResult& result, const std::string& how) {
  Live* one = active(parent);
  if (one == nullptr || one->generation != generation) return;  // nobody is told over a recur()
  if (result.ok) one->child_completed(op, result.data);
  else one->child_failed(op, result.error_type, result.error_message, how);
}

void World::ended(Live& gone) {
  if (!gone.parent.empty()) {
    const std::string& last = gone.history.back().data;
    const auto row = parse_json(last, "history");
    const Json error = row && row->is_object() ? *row : Json::object();
    if (gone.status == Status::completed) tell_parent(gone.parent, gone.parents_op, gone.parents_generation, {.ok = true, .data = last}, {});
    else if (gone.status == Status::failed)
      tell_parent(gone.parent, gone.parents_op, gone.parents_generation, detail::failure(text_of(error, "type"), text_of(error, "message")), "failed");
    else tell_parent(gone.parent, gone.parents_op, gone.parents_generation, detail::failure("WorkflowCancelled", text_of(error, "reason")), "cancelled");
  }
  const std::string why = "its parent " + gone.id() + " has ended";
  for (Live* one : order_) {
    if (one->parent == gone.id() && one->follows && !is_final(one->status)) one->cancel(why);
  }
  std::erase_if(outside_, [&](const auto& entry) { return entry.second.parent == gone.id() && entry.second.follows; });
}

void World::cancel_other(const std::string& id, const std::string& reason) {
  if (Live* one = active(id)) one->cancel(reason);
  else end_outside(id, detail::failure("WorkflowCancelled", reason), "cancelled");
}

// By operation: one that was refused is none, and whoever has its id is a stranger.
void World::stop_child(const Live& by, std::int32_t op, int generation) {
  const auto own = [&](const std::string& parent, std::int32_t parents_op, int parents_generation) {
    return parent == by.id() && parents_op == op && parents_generation == generation;
  };
  std::vector<std::string> ids;
  for (const Live* one : order_) {
    if (own(one->parent, one->parents_op, one->parents_generation)) ids.push_back(one->id());
  }
  for (const auto& [id, one] : outside_) {
    if (own(one.parent, one.op, one.generation)) ids.push_back(id);
  }
  for (const std::string& id : ids) cancel_other(id, "its parent does not wait for it any more");
}

void World::everybody_dies() {
  for (Live* one : order_) {
    if (one->in_memory()) one->lose(true);
  }
}

// ------------------------------------------------------------------------------------------------------------ messages

void World::send(const std::string& id, const std::string& channel, const std::string& data, const std::string& metadata) {
  the(id).message(channel, data, metadata, ++last_message_);
}

void World::publish(const std::string& channel, const std::string& data, const std::string& metadata,
                    const std::optional<std::string>& group) {
  if (!group) return post(channel, data, metadata);
  const std::int64_t number = ++last_message_;
  for (Live* one : order_) {
    if (one->groups.contains(*group)) one->message(channel, data, metadata, number);
  }
}

void World::post(const std::string& channel, const std::string& data, const std::string& metadata) {
  const std::int64_t number = ++last_message_;
  if (const auto found = competing_.find(channel); found != competing_.end()) {
    found->second.queue.push_back({number, data, metadata});
    return;
  }
  for (Live* one : order_) {
    if (one->subscriptions.contains(channel)) one->message(channel, data, metadata, number);
  }
}

bool World::has_subscriber(const std::string& channel) const {
  return std::any_of(order_.begin(), order_.end(), [&](const Live* one) { return one->subscriptions.contains(channel); });
}

// A channel has one mode while it is in use.
bool World::may_subscribe(Live& by, const resumer::SubscriptionChange& change) {
  const auto found = competing_.find(change.channel);
  const bool competing = found != competing_.end(), wanted = change.mode == ChannelMode::competing;
  if (wanted == competing || (!has_subscriber(change.channel) && (!competing || found->second.queue.empty()))) {
    if (wanted) competing_[change.channel];
    else competing_.erase(change.channel);
    return true;
  }
  const std::string is = competing ? "competing" : "broadcast", as = competing ? "broadcast" : "competing";
  by.put(InboxKind::refused, change.op, change.channel,
         dump_json(Json{{"type", "ChannelModeConflict"},
                        {"message", "channel '" + change.channel + "' is " + is + ", it cannot be subscribed to as " + as}}));
  return false;
}

void World::returned(const resumer::InboxRow& row) {
  const auto found = competing_.find(row.name);
  if (found == competing_.end()) return;
  auto& queue = found->second.queue;
  const auto place = std::find_if(queue.begin(), queue.end(), [&](const Queued& one) { return one.id > row.message_id; });
  queue.insert(place, {row.message_id, row.data, row.metadata});
}

// The oldest message meets the oldest wait.
bool World::match() {
  bool some = false;
  for (auto& [name, channel] : competing_) {
    while (!channel.queue.empty() && !channel.waits.empty()) {
      const auto [who, op] = channel.waits.front();
      channel.waits.pop_front();
      const auto wait = who->waits.find(op);
      if (wait == who->waits.end() || wait->second != name) continue;
      const Queued message = std::move(channel.queue.front());
      channel.queue.pop_front();
      some = who->distribute_to(op, message.data, message.metadata, message.id) || some;
    }
  }
  return some;
}

// --------------------------------------------------------------------------------------------------- what a commit says

void World::committed(Live& by, const resumer::Output& output) {
  for (const auto& row : output.outbox) events_.push_back({by.id(), row.event_id, row.type, row.source, row.content_type, row.data});
  for (const auto& wait : output.waits) {
    if (by.waits.contains(wait.op)) competing_[wait.channel].waits.emplace_back(&by, wait.op);
  }
  for (const auto& message : output.messages) {
    published_.push_back({by.id(), message.channel, message.data, message.metadata, message.target, message.group});
    if (message.target) {
      if (Live* one = active(*message.target)) one->message(message.channel, message.data, message.metadata, ++last_message_);
    } else {
      publish(message.channel, message.data, message.metadata, message.group);
    }
  }
  const int generation = output.recur ? by.generation - 1 : by.generation;
  for (const auto& child : output.children) start_other(by, child, generation);
  for (const auto& request : output.cancels) cancel_other(request.id, request.reason);
  for (const auto& taken : output.task_stops) stop_child(by, taken.op, generation);
  for (const auto& task : output.tasks) {
    later(clock_us, [this, id = by.id(), generation = by.generation, op = task.op] { carry_out(id, generation, op, 1, clock_us); });
  }
  if (is_final(by.status)) ended(by);
}

// --------------------------------------------------------------------------------------------------- queued activities

// first_us: when the first attempt began.
void World::carry_out(const std::string& id, int generation, std::int32_t op, int number, std::int64_t first_us) {
  Live* one = active(id);
  if (one == nullptr || one->generation != generation || !one->tasks.contains(op)) return;  // taken back
  const resumer::TaskStart task = one->tasks.at(op).start;
  const ActivityRef* activity = known(task.activity);
  if (activity == nullptr) return;  // nobody here
  one->take_task(op);
  auto outcome = attempt(id, task.activity, task.input, number, task.key);
  const std::chrono::microseconds limit = activity->options().timeout;
  if (limit.count() > 0 && (!outcome.takes || *outcome.takes > limit)) {
    outcome = {detail::failure("AttemptTimedOut", "no result within " + std::to_string(limit.count() / 1000) + " ms"), limit};
  }
  if (!outcome.takes) {
    hanging_.insert({id, generation, op});
    return;
  }
  later(clock_us + outcome.takes->count(), [this, id, generation, op, number, first_us, result = std::move(outcome.result)] {
    task_over(id, generation, op, number, first_us, result);
  });
}

void World::task_over(const std::string& id, int generation, std::int32_t op, int number, std::int64_t first_us,
                      const AttemptResult& result) {
  Live* one = active(id);
  if (one == nullptr || one->generation != generation || !one->tasks.contains(op)) return;
  auto& task = one->tasks.at(op);
  if (result.ok) {
    one->task_completed(op, result.data);
    return;
  }
  const ActivityRef* activity = known(task.start.activity);
  const auto pause = task.stopping || activity == nullptr
                         ? std::nullopt
                         : romancy::detail::next_attempt(activity->retry(),
                                                         {.number = number,
                                                          .type = result.error_type,
                                                          .terminal = result.terminal,
                                                          .retryable = result.retryable,
                                                          .since_first = std::chrono::microseconds(clock_us - first_us)},
                                                         task.start.key);
  if (!pause) {
    one->task_failed(op, result.error_type, result.error_message, number);
    return;
  }
  task.held = false;
  later(clock_us + std::chrono::microseconds(*pause).count(),
        [this, id, generation, op, number, first_us] { carry_out(id, generation, op, number + 1, first_us); });
}

void World::end_activity(const std::string& name, const AttemptResult& result) {
  for (Live* one : order_) {
    if (one->end_hanging(name, result)) return;
    for (const auto& [op, task] : one->tasks) {
      if (task.start.activity != name || (task.held && !hanging_.contains({one->id(), one->generation, op}))) continue;
      if (result.ok) one->task_completed(op, result.data);
      else one->task_failed(op, result.error_type, result.error_message);
      return;
    }
  }
  throw Failure("no attempt of activity '" + name + "' hangs at this moment");
}

void World::end_child(const std::string& workflow, const AttemptResult& result) {
  for (const Started& one : started_) {
    const auto found = outside_.find(one.instance_id);
    if (found == outside_.end() || found->second.workflow != workflow || !found->second.by_hand) continue;
    return end_outside(one.instance_id, result, result.ok ? "completed" : "failed");
  }
  throw Failure("no child of workflow '" + workflow + "' waits for its end at this moment");
}

// ------------------------------------------------------------------------------------------------------------ the clock

void World::at(std::chrono::microseconds since_start, std::function<void()> action) {
  if (since_start.count() < 0) throw Failure("at: a moment before the beginning");
  later(std::max(clock_us, starts_us_ + since_start.count()), std::move(action));
}

void World::cancel(const std::string& id, const std::string& reason) { cancel_other(the(id).id(), reason); }

void World::decide(const std::string& id, bool retry) {
  the(id).put(InboxKind::compensate, 0, {}, retry ? R"({"retry":true})" : R"({"retry":false})");
}

// A queued activity that hangs and shall stop: whoever has it is told at the next heartbeat.
bool World::stop_hanging(Live& one) {
  const auto stops = std::find_if(one.tasks.begin(), one.tasks.end(), [&](const auto& task) {
    return task.second.stopping && hanging_.contains({one.id(), one.generation, task.first});
  });
  return stops != one.tasks.end() && one.task_failed(stops->first, "Stopped", "asked to stop");
}

// Until no instance can do anything at this moment.
void World::settle() {
  for (bool again = true; again;) {
    again = false;
    for (std::size_t i = 0; i < order_.size(); ++i) {  // more may come meanwhile
      Live& one = *order_[i];
      const int before = one.commits;
      one.clock_us = clock_us;
      one.settle();
      again = stop_hanging(one) || one.commits != before || again;
    }
    again = match() || again;
  }
}

void World::run(std::optional<std::chrono::microseconds> for_so_long) {
  const std::int64_t until = for_so_long ? clock_us + for_so_long->count() : kNever;
  for (int steps = 0;; ++steps) {
    settle();
    std::int64_t planned = kNever, attempt = kNever, deadline = kNever;
    if (!agenda_.empty()) planned = agenda_.begin()->first.first;
    Live* whose = nullptr;
    std::int32_t op = 0;
    for (Live* one : order_) {
      if (is_final(one->status) || !one->stuck.empty()) continue;
      if (const auto due = one->next_due()) attempt = std::min(attempt, *due);
      for (const auto& [which, timer] : one->deadlines) {
        if (timer.due_us >= deadline) continue;
        deadline = timer.due_us;
        whose = one;
        op = which;
      }
    }
    const std::int64_t next = std::min({planned, attempt, deadline});
    if (next == kNever || next > until) break;
    if (steps == options_.most_steps) {
      std::string text = "run: no end after " + std::to_string(steps) + " steps; run_for() is for workflows that go on for ever.";
      for (const Live* one : order_) {
        if (!is_final(one->status)) text += "\n  '" + one->id() + "' waits for " + waits_of(*one);
      }
      throw Failure(text);
    }
    clock_us = std::max(clock_us, next);
    if (planned == next) {
      const auto action = agenda_.extract(agenda_.begin());
      action.mapped()();
    } else if (attempt != next) {
      whose->clock_us = clock_us;
      whose->fire(op);
    }
  }
  if (until != kNever) clock_us = std::max(clock_us, until);
}

// ---------------------------------------------------------------------------------------------------- what came of it

std::string World::status(const std::string& id) const { return std::string(name_of(the(id).status)); }

std::string World::waits_of(const Live& one) const {
  std::string text = one.doing();
  constexpr std::string_view kCode = "the code waits for ";
  if (text.starts_with(kCode)) text.erase(0, kCode.size());
  for (const auto& [op, task] : one.tasks) {
    if (known(task.start.activity) == nullptr) {
      text += "; activity '" + task.start.activity + "' is queued on '" + task.start.queue + "', and nobody here carries it out: mock it, or give it to the Environment";
    }
  }
  for (const auto& [child, outside] : outside_) {
    if (outside.parent == one.id() && outside.by_hand) {
      text += "; workflow '" + outside.workflow + "' of the child '" + child + "' is not run here: mock it, or give it to the Environment";
    }
  }
  return text;
}

std::string World::waits_for(const std::string& id) const {
  const Live& one = the(id);
  if (!one.stuck.empty()) return "it is parked: " + one.stuck;
  if (!one.note.empty() && !is_final(one.status)) return "a decision: " + one.note;
  return is_final(one.status) ? "it is " + std::string(name_of(one.status)) : waits_of(one);
}

std::string World::why_not(const Live& one) const {
  const std::string what = "instance '" + one.id() + "' of workflow '" + one.workflow() + "' ";
  const auto row = parse_json(one.result(), "history");
  const Json end = row && row->is_object() ? *row : Json::object();
  switch (one.status) {
    case Status::completed: return what + "completed";
    case Status::failed: return what + "failed with " + text_of(end, "type") + ": " + text_of(end, "message");
    case Status::cancelled: return what + "was cancelled: " + text_of(end, "reason");
    case Status::stuck: return what + "is parked: " + one.stuck;
    case Status::running:
    case Status::compensating: break;
  }
  return what + "is " + std::string(name_of(one.status)) + ", and waits for " + waits_for(one.id()) +
         ". Nothing more happens by itself until then";
}

std::string World::output(const std::string& id) const {
  const Live& one = the(id);
  if (one.status != Status::completed) throw Failure("no result: " + why_not(one));
  return one.result();
}

ErrorInfo World::error(const std::string& id) const {
  const Live& one = the(id);
  const auto row = parse_json(one.result(), "history");
  const Json end = row && row->is_object() ? *row : Json::object();
  if (one.status == Status::failed) return {text_of(end, "type"), text_of(end, "message")};
  if (one.status == Status::cancelled) return {"WorkflowCancelled", text_of(end, "reason")};
  throw Failure("no error: " + why_not(one));
}

std::string World::progress(const std::string& id) const {
  const Live& one = the(id);
  if (one.progress.empty()) throw Failure("instance '" + one.id() + "' has not called ctx.set_status()");
  return one.progress.back();
}

History World::history(const std::string& id) const {
  const Live& one = the(id);
  History told{one.id(), one.workflow(), status(one.id()), one.generation, one.first_generation, {}};
  for (const auto& row : one.history) told.events.push_back({row.seq, row.op, std::string(resumer::kind_name(row.kind)), row.name, row.data});
  return told;
}

}  // namespace romancy::testing
