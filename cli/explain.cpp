#include "cli/explain.hpp"

#include <algorithm>
#include <map>

namespace romancy::cli {
namespace {

// The channels it waits on: waits that were started and not answered.
std::string open_waits(const std::vector<Step>& history) {
  std::string channels;
  for (const Step& wait : history) {
    if (wait.kind != "wait_started") continue;
    const bool over = std::any_of(history.begin(), history.end(), [&](const Step& step) {
      return step.op == wait.op && (step.kind == "message_received" || step.kind == "wait_timed_out");
    });
    if (!over) channels += (channels.empty() ? "" : ", ") + wait.name;
  }
  return channels;
}

// "a child of ship", "3 children of ship, 1 of fly": those that have not ended.
std::string open_children(const std::vector<Step>& history) {
  std::map<int, std::string> open;  // by operation: there may be thousands
  for (const Step& step : history) {
    if (step.kind == "child_started") open.emplace(step.op, step.name);
    if (step.kind == "child_completed" || step.kind == "child_failed") open.erase(step.op);
  }
  std::map<std::string, int> counts;
  for (const auto& [op, name] : open) ++counts[name];
  if (open.size() == 1) return "a child of " + open.begin()->second;
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + (text.empty() ? " children" : "") + " of " + name;
  }
  return text;
}

// "activity resize on queue gpu, held by w-1 in attempt 2": at most three of them.
std::string open_tasks(const std::vector<PendingTask>& tasks) {
  constexpr std::size_t kNamed = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(tasks.size(), kNamed); ++i) {
    const PendingTask& task = tasks[i];
    text += (i == 0 ? "" : ", for ") + ("activity " + task.activity) + " on queue " + task.queue;
    if (task.worker) text += ", held by " + *task.worker + " in attempt " + std::to_string(task.attempt);
    else text += ", which nobody has taken" + (task.attempt > 0 ? " since attempt " + std::to_string(task.attempt) + " failed" : "");
    if (task.status == "cancelling") text += " and is asked to stop";
  }
  if (tasks.size() > kNamed) text += " and for " + std::to_string(tasks.size() - kNamed) + " more";
  return text;
}

std::string waits_for(const std::vector<PendingTimer>& timers, const std::string& channels, const std::string& children,
                      const std::string& tasks) {
  std::string text;
  if (!channels.empty()) text = "waits for a message on " + channels;
  if (!children.empty()) text += (text.empty() ? "waits for " : " and for ") + children;
  if (!tasks.empty()) text += (text.empty() ? "waits for " : " and for ") + tasks;
  // The workflow's own time-out is not what it waits for.
  const auto next = std::find_if(timers.begin(), timers.end(), [](const PendingTimer& t) { return t.kind != "expiry"; });
  if (next == timers.end()) return text;
  const PendingTimer& first = *next;
  if (first.kind == "timeout") return (text.empty() ? "waits for a message" : text) + " until " + first.expires_at;
  const std::string timer = first.kind == "sleep"   ? "sleeps until "
                            : first.kind == "retry" ? "tries an activity again at "
                                                    : "starts at ";
  return (text.empty() ? "" : text + "; ") + timer + first.expires_at;
}

}  // namespace

std::string explain(const Instance& instance, const std::vector<PendingTimer>& timers,
                    const std::vector<Step>& history, const std::vector<PendingTask>& tasks) {
  if (instance.status == "completed" || instance.status == "failed" || instance.status == "cancelled")
    return "has finished";
  if (instance.status == "stuck") {
    return "is parked: " + instance.note.value_or("no reason given") + "; 'romancy resume " + instance.instance_id +
           "' lets it go on";
  }
  if (instance.status == "compensating" && instance.note && instance.note->starts_with("compensation")) {
    return "waits for a person: " + *instance.note + "; 'romancy compensate " + instance.instance_id +
           "' tries again, --give-up leaves it";
  }
  if (instance.worker) return "is in the hands of " + *instance.worker;
  std::string nobody;
  if (!instance.served) {
    nobody = "no living worker serves " + instance.queue + "/" + instance.workflow_name;
    if (instance.version) nobody += " at version " + *instance.version;
    else if (instance.draining) nobody += " but those of versions that drain";
  }
  const std::string waits = waits_for(timers, open_waits(history), open_children(history), open_tasks(tasks));
  if (waits.empty()) return nobody.empty() ? "is ready: the next free worker takes it" : "is ready, but " + nobody;
  return nobody.empty() ? waits : waits + "; then " + nobody;
}

}  // namespace romancy::cli
