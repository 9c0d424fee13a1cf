#include "supervisor/spawn.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "common/base/errno_text.hpp"
#include "common/base/test_point.hpp"
#include "common/proc/inherited.hpp"

namespace romancy::supervisor {
namespace {

constexpr int kFirstFree = proc::kHubFd + 1;
constexpr int kOutOfTheWay = 64;  // descriptors are moved here first, lest dup2 overwrite one that is still needed

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// From here on: async-signal-safe calls only, no allocation.

[[noreturn]] void give_up(const char* program, const char* what) {
  for (const char* part : {"romancy-supervisor: cannot start ", program, ": ", what, ": ", errno_text(errno), "\n"}) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;  // nobody listens: the exit code must do
  }
  ::_exit(kExecFailed);
}

// Puts `from` at `to`, or closes `to` when there is nothing to put there.
bool place(int from, int to) {
  if (from >= 0) return ::dup2(from, to) == to;  // dup2 also clears close-on-exec
  ::close(to);                                   // EBADF: it was not open
  return true;
}

[[noreturn]] void become(const Program& program, char* const* argv, char* const* envp, pid_t parent) {
  ::setpgid(0, 0);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &standard, nullptr);  // refused for KILL and STOP
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) give_up(argv[0], "PR_SET_PDEATHSIG");  // first arm, then look
  if (::getppid() != parent) ::_exit(0);
  std::array<int, 4> fds = {program.control_fd, program.board_fd, program.hub_fd, program.out_fd};
  for (int& fd : fds) {
    if (fd >= 0 && (fd = ::fcntl(fd, F_DUPFD_CLOEXEC, kOutOfTheWay)) < 0) give_up(argv[0], "descriptors");
  }
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int moved = null < 0 ? -1 : ::fcntl(null, F_DUPFD_CLOEXEC, kOutOfTheWay);
  if (moved < 0 || !place(moved, STDIN_FILENO) || !place(fds[0], proc::kControlFd) || !place(fds[1], proc::kBoardFd) ||
      !place(fds[2], proc::kHubFd) || (fds[3] >= 0 && !place(fds[3], STDOUT_FILENO))) {
    give_up(argv[0], "descriptors");
  }
  ::close_range(kFirstFree, ~0u, 0);  // ENOSYS on old kernels: ours are close-on-exec anyway
  ::execve(argv[0], argv, envp);
  give_up(argv[0], "exec");
}

}  // namespace

Result<Spawned> spawn(const Program& program) {
  const std::string& path = program.command.at(0);
  // Said here, it reaches `romancy status`; said after fork, only the log.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return try_again("cannot start " + path + ": " + errno_text(errno));
  if (!S_ISREG(status.st_mode) || ::access(path.c_str(), X_OK) != 0) {
    return try_again("cannot start " + path + ": not an executable file");
  }
  if (ROMANCY_TEST_POINT("supervisor.fork.before")) return try_again("cannot start " + path + ": fork: a test says so");
  const auto argv = pointers(program.command), envp = pointers(program.environment);
  // Blocked until the child has its own handlers: ours would write into the pipe that wakes our loop.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  const int error = errno;
  if (pid == 0) become(program, argv.data(), envp.data(), parent);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return try_again("cannot start " + path + ": fork: " + errno_text(error));
  static_cast<void>(ROMANCY_TEST_POINT("supervisor.fork.after"));
  ::setpgid(pid, pid);  // in both: whoever comes first. EACCES: it is past exec, and did it itself
  return Spawned{pid, open_pidfd(pid)};
}

// By number: Debian's C library has wrappers, older ones have not; kernels before 5.3 say ENOSYS.
UniqueFd open_pidfd(pid_t pid) { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

bool send_signal(pid_t pid, const UniqueFd& pidfd, int signal) {
  if (!pidfd) return ::kill(pid, signal) == 0;
  return ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

std::vector<std::string> plain_environment() {
  const std::array<std::string_view, 12> ours = {
      proc::kEnvConfig, proc::kEnvInEffect, proc::kEnvComponent, proc::kEnvControl, proc::kEnvSlot, proc::kEnvHub,
      proc::kEnvParent, proc::kEnvVersion,  kEnvHandover,        "NOTIFY_SOCKET",   "WATCHDOG_USEC",
      "WATCHDOG_PID"};
  std::vector<std::string> out;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (std::find(ours.begin(), ours.end(), name) == ours.end()) out.emplace_back(text);
  }
  return out;
}

std::string describe_exit(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "signal " + std::to_string(WTERMSIG(wait_status));
  return "exit " + std::to_string(WEXITSTATUS(wait_status));
}

}  // namespace romancy::supervisor
