#include "supervisor/runtime_dir.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/io/line_stream.hpp"

namespace romancy::supervisor {
namespace {

Result<void> make_dir(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0750) == 0) {
    // Whatever the umask: the group may reach the sockets.
    if (::chmod(dir.c_str(), 0750) != 0) return refuse("runtime.dir " + dir + ": " + errno_text(errno));
    return {};
  }
  if (errno != EEXIST) return refuse("runtime.dir " + dir + ": cannot be made: " + errno_text(errno));
  struct stat status {};
  if (::stat(dir.c_str(), &status) != 0) return refuse("runtime.dir " + dir + ": " + errno_text(errno));
  if (!S_ISDIR(status.st_mode)) return refuse("runtime.dir " + dir + ": not a directory");
  return {};
}

std::string holder(int fd) {
  char text[32] = {};
  const ssize_t got = ::pread(fd, text, sizeof text - 1, 0);
  const std::string pid(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  return pid.empty() ? "" : " (pid " + pid.substr(0, pid.find('\n')) + ")";
}

}  // namespace

Result<UniqueFd> lock_runtime_dir(const std::string& dir) {
  if (auto made = make_dir(dir); !made) return tl::unexpected(made.error());
  const std::string path = dir + "/supervisor.lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!lock) return refuse("lock " + path + ": " + errno_text(errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return refuse("another supervisor" + holder(lock.get()) + " holds " + path);
    return refuse("lock " + path + ": " + errno_text(errno));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), pid.data(), pid.size(), 0) < 0) {
    return refuse("lock " + path + ": " + errno_text(errno));
  }
  return lock;
}

Result<void> write_private(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".part";
  const auto failed = [&] { return refuse("write " + fresh + ": " + errno_text(errno)); };
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) return failed();
  const UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return failed();
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file.get(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return failed();
    done += static_cast<std::size_t>(wrote);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed();
  return {};
}

Result<UniqueFd> take_socket(const std::string& path) {
  struct stat status {};
  const bool there = ::lstat(path.c_str(), &status) == 0;
  if (there && S_ISSOCK(status.st_mode)) {
    log::info("socket taken over", {{"path", path}});
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return refuse("socket " + path + ": " + errno_text(errno));
  }
  return io::listen_unix(path);
}

}  // namespace romancy::supervisor
