// control_client: one question to the supervisor over its control socket, and its answer. Knows no database.
#pragma once
#include <string>

#include "common/base/json.hpp"
#include "common/base/result.hpp"

namespace romancy::cli {

// The reply, an object with "ok": true. Try-again: nobody answers there (within 20 s); refuse: the supervisor says no.
Result<Json> ask_supervisor(const std::string& socket_path, const Json& request);

}  // namespace romancy::cli
