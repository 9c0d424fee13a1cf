// listen_unix, connect_unix, UnixServer: sockets under a path.
//
// Not uv_pipe_bind: libuv 1.44 silently truncates a path that is too long, and sets no mode.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>

#include "common/base/check.hpp"
#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/io/line_stream.hpp"
#include "common/io/watch.hpp"

namespace romancy::io {
namespace {

constexpr int kBacklog = 128;
constexpr int kAcceptsPerTurn = 64;
constexpr mode_t kSocketUmask = 0117;  // leaves 0660: to connect one needs to be able to write

std::string failed(std::string_view what, const std::string& path, int error) {
  return std::string(what) + " " + path + ": " + errno_text(error);
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // One byte less than the kernel takes: others, that want a terminating zero, shall reach it too.
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != path.npos)
    return refuse("socket path '" + path + "': 1 to " + std::to_string(sizeof address.sun_path - 1) +
                  " bytes are possible");
  path.copy(address.sun_path, path.size());
  return address;
}

Result<UniqueFd> new_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return try_again(std::string("socket: ") + errno_text(errno));
  return fd;
}

// 0 or the errno of a connect that does not wait.
int connect_now(int fd, const sockaddr_un& address) {
  while (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

// Removes what a dead server left at `path`. Anything else there is somebody's: refused.
Result<void> clear_stale(const std::string& path, const sockaddr_un& address) {
  struct stat there {};
  if (::lstat(path.c_str(), &there) != 0) {
    if (errno == ENOENT) return {};
    return refuse(failed("look at", path, errno));
  }
  if (!S_ISSOCK(there.st_mode)) return refuse(path + " is not a socket: not replaced");
  auto probe = new_socket();
  if (!probe) return tl::unexpected(probe.error());
  const int error = connect_now(probe->get(), address);
  if (error == ENOENT) return {};
  // Only "refused" means that nobody has it open; EAGAIN is a server with a full backlog.
  if (error != ECONNREFUSED)
    return refuse(error == 0 || error == EAGAIN ? path + ": somebody else listens there"
                                                : failed("probe", path, error));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return refuse(failed("remove the stale socket", path, errno));
  return {};
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  if (auto cleared = clear_stale(path, *address); !cleared) return tl::unexpected(cleared.error());
  auto fd = new_socket();
  if (!fd) return fd;
  const mode_t before = ::umask(kSocketUmask);  // of the whole process: so call this before threads make files
  const int bound = ::bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  const int error = errno;
  ::umask(before);
  if (bound != 0) return refuse(failed("bind", path, error));
  if (::listen(fd->get(), kBacklog) != 0) return refuse(failed("listen on", path, errno));
  return fd;
}

Result<UniqueFd> connect_unix(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected(address.error());
  auto fd = new_socket();
  if (!fd) return fd;
  const int error = connect_now(fd->get(), *address);
  if (error == 0) return fd;
  if (error == ENOENT || error == ECONNREFUSED || error == EAGAIN) return try_again(failed("connect to", path, error));
  return refuse(failed("connect to", path, error));
}

struct UnixServer::State : std::enable_shared_from_this<UnixServer::State> {
  UniqueFd fd;  // declared before the watch on it: outlives it
  // Held back for the day all descriptors are used up: without one a pending connection can be neither accepted nor
  // refused, and the level-triggered loop would spin on it.
  UniqueFd spare;
  std::unique_ptr<Watch> watch;
  std::function<void(UniqueFd, Peer)> on_connect;

  void accept_some() {
    const auto self = shared_from_this();  // on_connect may destroy the UnixServer
    int turned_away = 0;
    for (int i = 0; i < kAcceptsPerTurn && watch; ++i) {
      UniqueFd connected(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (connected) {
        ucred who{};
        socklen_t size = sizeof who;
        if (::getsockopt(connected.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) continue;  // closes it
        on_connect(std::move(connected), {.pid = who.pid, .uid = who.uid, .gid = who.gid});
      } else if (errno == EMFILE || errno == ENFILE) {
        // Said before the kernel has looked whether anybody waits.
        if (!turn_away()) break;
        ++turned_away;
      } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOMEM || errno == ENOBUFS) {
        break;
      } else {
        check(errno == EINTR || errno == ECONNABORTED, "a UnixServer gets a listening socket", errno_text(errno));
      }
    }
    if (turned_away > 0) log::warn("out of file descriptors: clients were turned away", {{"clients", turned_away}});
  }

  // Accepts one with the spare descriptor and hangs up on it: it sees an end of file and comes back later.
  bool turn_away() {
    spare.reset();
    const bool any = static_cast<bool>(UniqueFd(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    spare.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return any;
  }
};

UnixServer::UnixServer(Loop& loop, UniqueFd listening, std::function<void(UniqueFd, Peer)> on_connect)
    : state_(std::make_shared<State>()) {
  state_->fd = std::move(listening);
  // An inherited one may be blocking, and then a client that hangs up between poll and accept would hang the loop.
  const int flags = ::fcntl(state_->fd.get(), F_GETFL);
  check(flags >= 0 && ::fcntl(state_->fd.get(), F_SETFL, flags | O_NONBLOCK) == 0, "a UnixServer gets an open socket",
        errno_text(errno));
  state_->spare.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  state_->on_connect = std::move(on_connect);
  state_->watch = std::make_unique<Watch>(loop, state_->fd.get(), [s = state_.get()](bool, bool) { s->accept_some(); });
  state_->watch->want(true, false);
}

UnixServer::~UnixServer() { state_->watch.reset(); }

}  // namespace romancy::io
