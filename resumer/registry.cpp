#include "resumer/registry.hpp"

#include <algorithm>

#include "resumer/sdk_names.hpp"

namespace romancy::resumer {
namespace {

std::string options_problem(const WorkflowOptions& options) {
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24) * 366 * 1000;
  if (options.timeout.count() < 0 || options.timeout > kLongest) {
    return "timeout: " + std::to_string(options.timeout.count()) + " ms is not in 0 .. 1000 years (0: none)";
  }
  if (options.max_history < 100 || options.max_history > 10'000'000) {
    return "max_history: " + std::to_string(options.max_history) + " is not in 100 .. 10000000";
  }
  return {};
}

}  // namespace

Result<Registry> Registry::make(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities) {
  Registry registry;
  for (const WorkflowRef& workflow : workflows) {
    if (const auto problem = name_problem(workflow.name()); !problem.empty()) {
      return refuse("workflow '" + workflow.name() + "': name: " + problem);
    }
    if (const auto problem = name_problem(workflow.queue()); !problem.empty()) {
      return refuse("workflow '" + workflow.name() + "': queue: " + problem);
    }
    if (const auto problem = options_problem(workflow.options()); !problem.empty()) {
      return refuse("workflow '" + workflow.name() + "': " + problem);
    }
    if (!registry.workflows_.emplace(workflow.name(), workflow).second) {
      return refuse("workflow '" + workflow.name() + "' is registered twice");
    }
  }
  for (const ActivityRef& activity : activities) {
    if (const auto problem = name_problem(activity.name()); !problem.empty()) {
      return refuse("activity '" + activity.name() + "': name: " + problem);
    }
    if (activity.name().starts_with("romancy.")) {
      return refuse("activity '" + activity.name() + "': name: what begins with 'romancy.' is built in");
    }
    if (const auto problem = detail::options_problem(activity.options()); !problem.empty()) {
      return refuse("activity '" + activity.name() + "': " + problem);
    }
    const auto& [kind, queue] = std::pair(activity.definition().kind(), activity.options().queue);
    if (kind == detail::ActivityKind::elsewhere) {
      return refuse("activity '" + activity.name() + "' is a QueuedActivity, it is carried out by other programs: do not register it");
    }
    if (!queue.empty()) {
      if (const auto problem = name_problem(queue); !problem.empty()) return refuse("activity '" + activity.name() + "': queue: " + problem);
      if (kind != detail::ActivityKind::blocking) {
        return refuse("activity '" + activity.name() + "': queue: only activities made by romancy::activity can be queued");
      }
    }
    if (!registry.activities_.emplace(activity.name(), activity).second) {
      return refuse("activity '" + activity.name() + "' is registered twice");
    }
  }
  for (const ActivityRef& activity : builtin_activities()) registry.activities_.emplace(activity.name(), activity);
  return registry;
}

const WorkflowRef* Registry::workflow(const std::string& name) const {
  const auto found = workflows_.find(name);
  return found == workflows_.end() ? nullptr : &found->second;
}

const ActivityRef* Registry::activity(const std::string& name) const {
  const auto found = activities_.find(name);
  return found == activities_.end() ? nullptr : &found->second;
}

std::vector<const WorkflowRef*> Registry::workflows() const {
  std::vector<const WorkflowRef*> all;
  all.reserve(workflows_.size());
  for (const auto& [name, workflow] : workflows_) all.push_back(&workflow);
  std::sort(all.begin(), all.end(), [](const auto* a, const auto* b) { return a->name() < b->name(); });
  return all;
}

std::map<std::string, std::vector<std::string>> Registry::queues() const {
  std::map<std::string, std::vector<std::string>> queues;
  for (const auto& [name, activity] : activities_) {
    if (!activity.options().queue.empty()) queues[activity.options().queue].push_back(name);
  }
  return queues;
}

}  // namespace romancy::resumer
