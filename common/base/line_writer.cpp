#include "common/base/line_writer.hpp"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace romancy {

bool LineWriter::write(std::string_view lines) {
  look();
  if (!drain()) return false;
  const ssize_t taken = push(lines);
  if (taken <= 0) return false;
  rest_ = lines.substr(static_cast<std::size_t>(taken));
  static_cast<void>(drain());  // what it still does not take waits for the next line
  return true;
}

void LineWriter::look() {
  struct stat now {};
  if (::fstat(fd_, &now) != 0) {
    kind_ = Kind::none;
    return;
  }
  if (kind_ != Kind::none && now.st_dev == device_ && now.st_ino == inode_) return;
  device_ = now.st_dev;
  inode_ = now.st_ino;
  own_.reset();
  rest_.clear();  // it belongs to what was there before
  if (S_ISREG(now.st_mode)) {
    kind_ = Kind::file;
  } else if (S_ISSOCK(now.st_mode)) {
    kind_ = Kind::socket;
  } else {
    own_.reset(::open(("/proc/self/fd/" + std::to_string(fd_)).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    kind_ = own_ ? Kind::own : Kind::shared;
  }
}

bool LineWriter::drain() {
  while (!rest_.empty()) {
    const ssize_t taken = push(rest_);
    if (taken <= 0) return false;
    rest_.erase(0, static_cast<std::size_t>(taken));
  }
  return true;
}

// How many bytes left; zero or less: none can now.
ssize_t LineWriter::push(std::string_view bytes) {
  ssize_t taken = -1;
  do {
    switch (kind_) {
      case Kind::none: return -1;
      case Kind::socket: taken = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL); break;
      case Kind::own: taken = ::write(own_.get(), bytes.data(), bytes.size()); break;
      case Kind::file: taken = ::write(fd_, bytes.data(), bytes.size()); break;
      case Kind::shared: {
        pollfd space{.fd = fd_, .events = POLLOUT, .revents = 0};
        if (::poll(&space, 1, 0) != 1 || (space.revents & POLLOUT) == 0) return -1;
        taken = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
        break;
      }
    }
  } while (taken < 0 && errno == EINTR);
  return taken;
}

}  // namespace romancy
