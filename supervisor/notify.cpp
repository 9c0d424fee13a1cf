#include "supervisor/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>

#include "common/base/errno_text.hpp"
#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"

namespace romancy::supervisor {

void notify(std::string_view state) {
  const char* named = ::getenv("NOTIFY_SOCKET");
  if (!named || !*named) return;
  std::string path = named;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    log::warn("NOTIFY_SOCKET is too long", {{"path", path}});
    return;
  }
  if (path[0] == '@') path[0] = '\0';  // an abstract name
  path.copy(address.sun_path, path.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const ssize_t sent = fd ? ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                     reinterpret_cast<const sockaddr*>(&address), size)
                          : -1;
  if (sent < 0) log::warn("systemd not notified", {{"error", errno_text(errno)}});
}

void notify_reloading() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();  // CLOCK_MONOTONIC, as systemd wants it
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
}

std::chrono::microseconds watchdog_interval() {
  const char* interval = ::getenv("WATCHDOG_USEC");
  const char* whose = ::getenv("WATCHDOG_PID");
  if (!interval || (whose && std::atoll(whose) != ::getpid())) return std::chrono::microseconds(0);
  return std::chrono::microseconds(std::max(0LL, std::atoll(interval)));
}

}  // namespace romancy::supervisor
