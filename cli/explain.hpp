// explain: why an instance is where it is, in one sentence for `romancy show`. Pure.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace romancy::cli {

struct Step {  // of its history
  int op = 0;
  std::string kind;
  std::string name;
};

struct PendingTimer {
  std::string kind;  // "sleep", "timeout", "retry", "start_at"
  std::string expires_at;
};

struct Instance {
  std::string instance_id, workflow_name, queue, status;
  std::optional<std::string> worker, note;
  bool served = false;  // a live worker may take it
  std::optional<std::string> version = {};  // it is pinned to
  bool draining = false;  // not pinned, and workers that serve its workflow are of versions that drain
};

struct PendingTask {  // a queued activity that has not ended
  std::string activity, queue, status;  // "waiting", "held", "cancelling"
  int attempt = 0;
  std::optional<std::string> worker;
};

// Timers in the order of their time.
std::string explain(const Instance& instance, const std::vector<PendingTimer>& timers,
                    const std::vector<Step>& history, const std::vector<PendingTask>& tasks = {});

}  // namespace romancy::cli
