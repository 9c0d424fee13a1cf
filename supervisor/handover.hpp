// handover: what one supervisor leaves to the next one in the same process (SIGUSR2: the program is executed anew).
//
// Descriptors and children outlive an exec; what we know about them would not. It is written as JSON into a memfd whose
// number stands in ROMANCY_HANDOVER. The new program first proves, as a child that is thrown away, that it can read it.
//
//   {"version": 1, "path": the configuration's name, "in_effect": the file with its text, "lock", "board", "hub",
//    "control": descriptors (hub: -1 when there is none), "started_at", "level": of our own log,
//    "children": [Child::hand_over() ..], "leaving": those that are no longer wanted}
#pragma once
#include "common/base/json.hpp"
#include "common/base/result.hpp"
#include "common/base/unique_fd.hpp"

namespace romancy::supervisor {

inline constexpr int kHandoverVersion = 1;  // one more with every change of the JSON

Result<UniqueFd> write_handover(const Json& state);  // close-on-exec: the caller opens it for the exec
Result<Json> read_handover(int fd);                  // from its beginning, whoever read it before

// For the exec, and back when it failed.
bool keep_over_exec(int fd, bool keep);

}  // namespace romancy::supervisor
