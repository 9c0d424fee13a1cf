// runtime_dir: the directory of sockets, lock and board, and the lock that makes its owner the only one.
//
// The lock is an flock on <dir>/supervisor.lock: it dies with its holder, whatever kills it. The file stays (removing
// a lock file is a race); it holds the pid for people to read. Who has the lock owns the sockets in the directory,
// and may replace what a killed predecessor left there.
#pragma once
#include <string>

#include "common/base/result.hpp"
#include "common/base/unique_fd.hpp"

namespace romancy::supervisor {

// Makes the directory (0750) if it is missing, and takes the lock. Refused when another supervisor has it, naming it.
Result<UniqueFd> lock_runtime_dir(const std::string& dir);

// A listening socket at `path`; only under the lock. Replaces a socket that is there, even one that a process of a
// killed predecessor still listens on.
Result<UniqueFd> take_socket(const std::string& path);

// Writes a file that only we may read (a configuration may hold a password), whole or not at all.
Result<void> write_private(const std::string& path, const std::string& text);

}  // namespace romancy::supervisor
