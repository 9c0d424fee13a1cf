#include "cli/control_client.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "common/base/errno_text.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/line_stream.hpp"

namespace romancy::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{20};  // a reload is tried for up to 10 s
constexpr std::size_t kLongestReply = 1u << 20;

// Waits until the socket can be read or written.
Result<void> wait(int fd, short events, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd poll{.fd = fd, .events = events, .revents = 0};
    const int ready = left > 0 ? ::poll(&poll, 1, static_cast<int>(left)) : 0;
    if (ready > 0) return {};
    if (ready == 0) return try_again("the supervisor does not answer");
    if (errno != EINTR) return try_again(std::string("poll: ") + errno_text(errno));
  }
}

bool worth_waiting() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

Result<void> write_line(int fd, const std::string& line, Clock::time_point until) {
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t wrote = ::send(fd, line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (wrote >= 0) {
      sent += static_cast<std::size_t>(wrote);
      continue;
    }
    if (!worth_waiting()) return try_again(std::string("send: ") + errno_text(errno));
    if (auto ready = wait(fd, POLLOUT, until); !ready) return ready;
  }
  return {};
}

Result<std::string> read_line(int fd, Clock::time_point until) {
  std::string text;
  char buffer[4096];
  while (text.size() <= kLongestReply) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0) {
      text.append(buffer, static_cast<std::size_t>(got));
      if (const auto end = text.find('\n'); end != std::string::npos) return text.substr(0, end);
      continue;
    }
    if (got == 0) return try_again("the supervisor hung up");
    if (!worth_waiting()) return try_again(std::string("recv: ") + errno_text(errno));
    if (auto ready = wait(fd, POLLIN, until); !ready) return tl::unexpected(ready.error());
  }
  return refuse("the reply is longer than " + std::to_string(kLongestReply) + " bytes");
}

}  // namespace

Result<Json> ask_supervisor(const std::string& socket_path, const Json& request) {
  const auto until = Clock::now() + kPatience;
  const auto fd = io::connect_unix(socket_path);
  if (!fd) return try_again("no supervisor answers: " + fd.error().text);
  if (auto sent = write_line(fd->get(), dump_json(request) + "\n", until); !sent) return tl::unexpected(sent.error());
  const auto line = read_line(fd->get(), until);
  if (!line) return tl::unexpected(line.error());
  auto reply = parse_json(*line, "reply");
  if (!reply) return reply;
  if (!reply->is_object() || !reply->contains("ok") || !(*reply)["ok"].is_boolean()) {
    return refuse("the reply is not one of a supervisor: " + line->substr(0, 200));
  }
  if (!(*reply)["ok"].get<bool>()) {
    const auto error = reply->find("error");
    return refuse(error != reply->end() && error->is_string() ? error->get<std::string>() : "refused");
  }
  return reply;
}

}  // namespace romancy::cli
