// Observer: tells the program's hooks. What is a row of history is told after the commit that wrote it was accepted.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "resumer/events.hpp"
#include "romancy/hooks.hpp"

namespace romancy::resumer {

class Observer {
 public:
  explicit Observer(std::shared_ptr<Hooks> hooks) : hooks_(std::move(hooks)) {}
  [[nodiscard]] bool listening() const noexcept { return hooks_ != nullptr; }

  struct Instance {
    std::string_view instance_id, workflow_name;
    int generation = 0;
  };
  void committed(const Instance& instance, std::span<const HistoryRow> rows, std::int64_t clock_us) const;
  void compensating(const Instance& instance, std::int64_t clock_us) const;
  void parked(const Instance& instance, std::string_view why, std::int64_t clock_us) const;
  void replayed(const Instance& instance, std::int64_t rows, std::int64_t clock_us) const;
  void attempt_started(const Instance& instance, std::int32_t op, std::string_view activity, int attempt,
                       std::int64_t clock_us) const;
  void attempt_ended(const Instance& instance, std::int32_t op, std::string_view activity, int attempt, bool ok,
                     std::int64_t clock_us) const;

 private:
  std::shared_ptr<Hooks> hooks_;
};

}  // namespace romancy::resumer
