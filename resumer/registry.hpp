// Registry: the workflows and activities a program was linked with, by name. Built once, before the loop runs.
#pragma once
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/result.hpp"
#include "romancy/romancy.hpp"

namespace romancy::resumer {

// builtin.cpp
std::vector<ActivityRef> builtin_activities();

class Registry {
 public:
  // Refuses two of one name, naming it, and activities with names of ours ("romancy."). The built-in ones are added.
  static Result<Registry> make(const std::vector<WorkflowRef>& workflows, const std::vector<ActivityRef>& activities);
  [[nodiscard]] const WorkflowRef* workflow(const std::string& name) const;  // nullptr: unknown
  [[nodiscard]] const ActivityRef* activity(const std::string& name) const;
  [[nodiscard]] std::vector<const WorkflowRef*> workflows() const;
  [[nodiscard]] std::map<std::string, std::vector<std::string>> queues() const;  // that it serves: the activities of each

 private:
  std::unordered_map<std::string, WorkflowRef> workflows_;
  std::unordered_map<std::string, ActivityRef> activities_;
};

}  // namespace romancy::resumer
