// run_attempt: one attempt of an activity, on a pool thread.
#include "resumer/lease.hpp"

namespace romancy::resumer {

ActivityOutcome run_attempt(const ActivityRef* activity, const ActivityStart& start, const std::string& instance_id,
                            const std::stop_token& stop) {
  ActivityOutcome outcome;
  outcome.op = start.op;
  outcome.attempt = start.attempt;
  if (activity == nullptr) {
    outcome.error_type = "UnknownActivity";
    outcome.error_message = "no activity named '" + start.name + "' in this program";
    outcome.terminal = true;
    return outcome;
  }
  Attempt attempt(instance_id, start.attempt, start.key, stop);
  AttemptResult result = activity->run(attempt, start.input);
  outcome.ok = result.ok;
  outcome.data = std::move(result.data);
  outcome.error_type = std::move(result.error_type);
  outcome.error_message = std::move(result.error_message);
  outcome.terminal = result.terminal;
  return outcome;
}

}  // namespace romancy::resumer
