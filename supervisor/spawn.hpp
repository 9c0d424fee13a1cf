// spawn: fork and exec, by hand.
//
// By hand, because libuv's uv_spawn has no hook between fork and exec (no PDEATHSIG, no process group) and loses its
// child's status to anybody who reaps with wait(-1). Between fork and exec nothing but async-signal-safe calls.
//
// Promise: the child gets /dev/null as stdin, our stdout and stderr, the descriptors named in Program at the numbers
//          of common/proc/inherited.hpp, and no other; default signal actions and an empty mask; a process group of
//          its own; and it dies (SIGTERM) when the supervisor does, from before its first instruction.
// Each child comes with a pidfd: a signal sent through it can never hit somebody who got the number of a dead one.
// Failure: no such program, or fork failed: an error. exec failed after fork: exit 127 and a line on stderr.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/unique_fd.hpp"

namespace romancy::supervisor {

struct Program {
  std::vector<std::string> command;      // absolute path, then arguments
  std::vector<std::string> environment;  // NAME=value
  int out_fd = -1;                       // its stdout; -1: ours
  int control_fd = -1;                   // -1: it gets none
  int board_fd = -1;
  int hub_fd = -1;
};

inline constexpr int kExecFailed = 127;  // as shells say it

struct Spawned {
  pid_t pid = 0;
  UniqueFd pidfd;  // none where the kernel has no such thing
};
Result<Spawned> spawn(const Program& program);

// The pidfd of a child that has not been reaped yet.
UniqueFd open_pidfd(pid_t pid);
// To one process: through the pidfd if there is one. False, with errno.
bool send_signal(pid_t pid, const UniqueFd& pidfd, int signal);

inline constexpr const char* kEnvHandover = "ROMANCY_HANDOVER";  // see handover.hpp

// Our environment without what is meant for us alone (the variables of inherited.hpp, systemd's, the handover).
std::vector<std::string> plain_environment();

// "signal 9", "exit 78": as operators read it.
std::string describe_exit(int wait_status);

}  // namespace romancy::supervisor
