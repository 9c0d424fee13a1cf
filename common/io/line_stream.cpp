#include "common/io/line_stream.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "common/base/check.hpp"
#include "common/base/errno_text.hpp"
#include "common/io/watch.hpp"

namespace romancy::io {
namespace {

constexpr std::size_t kReadSize = 16u << 10;
constexpr int kReadsPerTurn = 4;  // then the others of the loop have their turn; the descriptor stays readable

Peer peer_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return {.pid = 0, .uid = uid_t(-1), .gid = gid_t(-1)};  // nobody has these
  return {.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
}

}  // namespace

// Out: send() only queues; the turn's end writes all of it with one call, because the kernel charges an AF_UNIX
// stream by the call and not by the byte (64-byte writes fill its buffer at 18 kB). What the kernel does not take
// waits for the descriptor to become writable.
struct LineStream::State : std::enable_shared_from_this<LineStream::State> {
  Loop& loop;
  UniqueFd fd;  // declared before the watch on it: outlives it
  std::unique_ptr<Watch> watch;
  LineCaps caps;
  Handlers handlers;
  Peer peer;
  std::string in;            // the beginning of a line whose end has not come
  std::string out;           // from out_done on: not yet accepted by the kernel
  std::size_t out_done = 0;
  bool flush_asked = false;  // a flush stands at the turn's end
  bool blocked = false;      // the kernel is full: the watch waits for writable
  bool overlong = false;
  bool orphaned = false;     // the LineStream is gone: no callback any more

  State(Loop& on, UniqueFd connected, LineCaps limits, Handlers call)
      : loop(on), fd(std::move(connected)), caps(limits), handlers(std::move(call)), peer(peer_of(fd.get())) {}

  [[nodiscard]] std::size_t queued() const { return out.size() - out_done; }
  [[nodiscard]] bool open() const { return watch != nullptr; }

  void start() {
    const int flags = ::fcntl(fd.get(), F_GETFL);
    check(flags >= 0 && ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) == 0, "a LineStream gets an open socket",
          errno_text(errno));
    watch = std::make_unique<Watch>(loop, fd.get(), [this](bool readable, bool writable) {
      const auto self = shared_from_this();  // a handler may destroy the LineStream
      if (writable && blocked) flush();
      if (readable && open()) read_lines();
    });
    watch->want(true, false);
  }

  // The only end of a stream. on_close comes at the turn's end, so never from within send() or close().
  void shut(std::string why) {
    if (!open()) return;
    watch.reset();
    fd.reset();
    out.clear();
    out_done = 0;
    loop.at_turn_end([self = shared_from_this(), reason = std::move(why)] {
      if (!self->orphaned && self->handlers.on_close) self->handlers.on_close(reason);
    });
  }

  void ask_flush() {
    if (flush_asked || blocked) return;
    flush_asked = true;
    loop.at_turn_end([self = shared_from_this()] {
      self->flush_asked = false;
      if (self->open() && !self->blocked) self->flush();
    });
  }

  // Gives the kernel what it takes. An error of the socket comes back as errno, else 0.
  int push() {
    while (queued() > 0) {
      const ssize_t sent = ::send(fd.get(), out.data() + out_done, queued(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) {
        out_done += static_cast<std::size_t>(sent);
        continue;
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) break;
      return errno;
    }
    if (queued() == 0) {
      out.clear();
      out_done = 0;
    } else if (out_done > out.size() / 2) {  // shifted rarely, so each byte moves a bounded number of times
      out.erase(0, out_done);
      out_done = 0;
    }
    return 0;
  }

  void flush() {
    if (const int error = push(); error != 0) {
      // The peer may have said why before it hung up: hear that first.
      read_lines();
      shut(std::string("write: ") + errno_text(error));
      return;
    }
    const bool was_blocked = std::exchange(blocked, queued() > 0);
    watch->want(true, blocked);
    if (was_blocked && !blocked && handlers.on_drained) handlers.on_drained();
  }

  void read_lines() {
    std::array<char, kReadSize> chunk;
    for (int reads = 0; reads < kReadsPerTurn && open(); ++reads) {
      const ssize_t got = ::recv(fd.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
      if (got > 0) {
        take({chunk.data(), static_cast<std::size_t>(got)});
      } else if (got == 0) {
        shut("the peer hung up");
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      } else if (errno != EINTR) {
        shut(std::string("read: ") + errno_text(errno));
      }
    }
  }

  void take(std::string_view bytes) {
    while (!bytes.empty() && open()) {
      const auto end = bytes.find('\n');
      const auto part = bytes.substr(0, end);
      if (in.size() + part.size() > caps.max_line) {
        overlong = true;
        shut("a line longer than " + std::to_string(caps.max_line) + " bytes");
        return;
      }
      if (end == bytes.npos) {
        in += part;
        return;
      }
      bytes.remove_prefix(end + 1);
      if (in.empty()) {
        handlers.on_line(part);
      } else {
        const std::string line = std::exchange(in, {}) + std::string(part);
        handlers.on_line(line);
      }
    }
  }
};

LineStream::LineStream(Loop& loop, UniqueFd connected, LineCaps caps, Handlers handlers)
    : state_(std::make_shared<State>(loop, std::move(connected), caps, std::move(handlers))) {
  state_->start();
}

LineStream::~LineStream() {
  state_->orphaned = true;
  if (state_->open()) static_cast<void>(state_->push());  // one try for the last words; nobody is left to tell
  state_->watch.reset();
  state_->fd.reset();
}

bool LineStream::send(std::string_view line) {
  if (!state_->open() || state_->queued() + line.size() + 1 > state_->caps.max_queue) return false;
  (state_->out += line) += '\n';
  state_->ask_flush();
  return true;
}

std::size_t LineStream::queued_bytes() const { return state_->queued(); }

void LineStream::close() {
  if (!state_->open()) return;
  static_cast<void>(state_->push());  // one try for the last words; the stream ends whatever comes of it
  state_->shut("closed");
}

std::size_t LineStream::unread() const {
  int bytes = 0;
  if (!state_->open() || ::ioctl(state_->fd.get(), SIOCOUTQ, &bytes) != 0) return 0;
  return static_cast<std::size_t>(bytes);
}

bool LineStream::overlong() const { return state_->overlong; }

bool peer_in_group(int fd, const Peer& peer, gid_t group) {
  if (peer.gid == group) return true;
  std::vector<gid_t> groups(64);
  socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  int failed = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  if (failed != 0 && errno == ERANGE) {  // more of them: `size` says how much they need
    groups.resize(size / sizeof(gid_t));
    failed = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  }
  if (failed != 0) return false;
  groups.resize(size / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

int LineStream::fd() const { return state_->open() ? state_->fd.get() : -1; }

Peer LineStream::peer() const { return state_->peer; }

}  // namespace romancy::io
