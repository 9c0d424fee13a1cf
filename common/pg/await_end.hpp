// await_end: waits for a workflow's end on a blocking connection: told by notification, polling only as a fallback.
//
// Promises: the end is seen a round trip after its commit, and nothing is asked meanwhile. Should notifications be lost
// (a pooler in between, say) it looks every `fallback`. What it listens to stays listened to, so that a second wait on
// this connection begins at once.
// Failure: a lost connection is a try-again error; the wait is still entered in the database, and another connection may
// wait for the same. An unknown instance: refused (22023).
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "common/pg/blocking.hpp"

namespace romancy::pg {

struct End {
  std::string status;  // completed, failed, cancelled
  std::optional<std::string> output, error;  // JSON text
};

// Nothing: the deadline passed before.
Result<std::optional<End>> await_end(Blocking& db, const std::string& schema, const std::string& instance_id,
                                     std::chrono::steady_clock::time_point deadline,
                                     std::chrono::milliseconds fallback = std::chrono::seconds(30));

}  // namespace romancy::pg
