#include "tests/support/script.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <utility>

namespace romancy::test {

using namespace resumer;

namespace {

std::unique_ptr<Registry> registry_of(const std::vector<WorkflowRef>& workflows,
                                      const std::vector<ActivityRef>& activities) {
  auto made = Registry::make(workflows, activities);
  if (!made) throw std::invalid_argument(made.error().text);
  return std::make_unique<Registry>(std::move(*made));
}

struct NoSql final : detail::SqlHost {
  Rows exec(std::string_view, const std::vector<std::optional<std::string>>&) override { return {{}, {}, 0}; }
  void control(const std::string&) override {}
  const std::string& schema() const override { return name; }
  std::string name = "none";
};

}  // namespace

Script::Script(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities)
    : registry_(registry_of(workflows, activities)) {}

void Script::restart(std::vector<WorkflowRef> workflows, std::vector<ActivityRef> activities) {
  evict();
  registry_ = registry_of(workflows, activities);
  resume();
  lose(false);
}

std::optional<Script::Ended> Script::next_ended(bool another) {
  while (!running_.empty() && !(choose && another)) {
    const auto next = running_.begin() + static_cast<std::ptrdiff_t>(choose ? choose(running_.size()) : 0);
    const ActivityStart start = *next;
    running_.erase(next);
    if (!awaits(start.op)) continue;  // taken back before it began
    attempts.push_back(start);
    if (on_activity) on_activity(start);
    return Ended{start, attempt(start)};
  }
  return std::nullopt;
}

AttemptResult Script::attempt(const ActivityStart& start) const {
  const ActivityRef& activity = *registry_->activity(start.name);
  if (activity.definition().kind() != detail::ActivityKind::transactional) {
    Attempt attempt(id(), start.attempt, start.key, {});
    return activity.run(attempt, start.input);
  }
  NoSql sql;
  Transaction tx(id(), start.attempt, start.key, {}, sql);
  try {
    const auto& definition = static_cast<const detail::TransactionalDefinition&>(activity.definition());
    return {.ok = true, .data = definition.call(tx, start.input)};
  } catch (...) {
    return detail::failed_attempt();
  }
}

void Script::wrong(const std::string& what) const { ADD_FAILURE() << what; }

}  // namespace romancy::test
