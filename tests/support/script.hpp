// Script: one instance in memory (resumer/memory_instance.hpp), for tests of the replay core. Activities take no time: they
// are carried out where they stand, one commit later, and what the database would refuse fails the test.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "resumer/memory_instance.hpp"

namespace romancy::test {

using resumer::Deadline;

class Script : public resumer::MemoryInstance {
 public:
  Script(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities);
  Script(Script&&) = default;
  Script& operator=(Script&&) = default;
  ~Script() override { evict(); }  // while there is a registry
  void restart(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities);  // another program takes over

  // Which of so many activities under way ends next; a commit comes between them. Not set: all end, then one commit.
  std::function<std::size_t(std::size_t)> choose;
  std::function<void(const resumer::ActivityStart&)> on_activity;  // before each attempt
  std::vector<resumer::ActivityStart> attempts;                    // every one, in order

  [[nodiscard]] const resumer::Registry& registry() const override { return *registry_; }

 private:
  void begin(const resumer::ActivityStart& start) override { running_.push_back(start); }
  std::optional<Ended> next_ended(bool another) override;
  void lost() override { running_.clear(); }
  void wrong(const std::string& what) const override;
  AttemptResult attempt(const resumer::ActivityStart& start) const;

  std::unique_ptr<resumer::Registry> registry_;
  std::vector<resumer::ActivityStart> running_;  // handed out, not ended
};

}  // namespace romancy::test
