// run_attempt: one attempt of an activity, on a pool thread; and what came of an attempt, in the words of the run.
#include "common/proc/config.hpp"
#include "resumer/lease.hpp"

namespace romancy::resumer {

ActivityOutcome outcome_of(const ActivityStart& start, AttemptResult result) {
  ActivityOutcome outcome;
  outcome.op = start.op;
  outcome.attempt = start.attempt;
  outcome.ok = result.ok;
  outcome.data = std::move(result.data);
  outcome.error_type = std::move(result.error_type);
  outcome.error_message = std::move(result.error_message);
  outcome.terminal = result.terminal;
  outcome.retryable = result.retryable;
  return outcome;
}

ActivityOutcome timed_out(const ActivityStart& start, std::chrono::milliseconds timeout) {
  return outcome_of(start, {.error_type = "AttemptTimedOut",
                            .error_message = "no result within " + proc::format_duration(timeout)});
}

ActivityOutcome run_attempt(const ActivityRef* activity, const ActivityStart& start, const std::string& instance_id,
                            const std::stop_token& stop, detail::TaskDetails* details) {
  if (activity == nullptr) {
    return outcome_of(start, {.error_type = "UnknownActivity",
                              .error_message = "no activity named '" + start.name + "' in this program",
                              .terminal = true});
  }
  Attempt attempt(instance_id, start.attempt, start.key, stop, details);
  return outcome_of(start, activity->run(attempt, start.input));
}

}  // namespace romancy::resumer
