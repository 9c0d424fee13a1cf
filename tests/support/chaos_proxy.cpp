#include "tests/support/chaos_proxy.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <stdexcept>
#include <utility>
#include <vector>

#include "common/base/errno_text.hpp"

namespace romancy::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMostWaiting = 1u << 20;  // from there on nothing is read

union Address {
  sockaddr any;
  sockaddr_in tcp;
  sockaddr_un local;
};

socklen_t parse(const std::string& text, Address& address) {
  std::memset(&address, 0, sizeof address);
  if (text.starts_with("/")) {
    address.local.sun_family = AF_UNIX;
    if (text.size() >= sizeof address.local.sun_path) throw std::runtime_error("proxy: path too long: " + text);
    std::memcpy(&address.local.sun_path[0], text.c_str(), text.size() + 1);
    return sizeof address.local;
  }
  const auto colon = text.rfind(':');
  address.tcp.sin_family = AF_INET;
  address.tcp.sin_port = htons(static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1))));
  if (::inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.tcp.sin_addr) != 1) throw std::runtime_error("proxy: " + text);
  return sizeof address.tcp;
}

void plain(const UniqueFd& fd) {
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // refused on a Unix socket, which has no such delay
}

}  // namespace

// One direction: what was read, each piece with the moment it may go on.
struct ChaosProxy::Flow {
  struct Piece {
    std::string bytes;
    Clock::time_point due;
  };
  std::deque<Piece> pieces{};
  std::size_t waiting = 0;
  Clock::time_point next_free{};  // throttled: when the line is free again
  bool over = false;              // its reader saw the end
  bool shut = false;
};

struct ChaosProxy::Pair {
  UniqueFd client, server;
  Flow up{}, down{};
  bool broken = false;
};

ChaosProxy::ChaosProxy(const std::string& listen_on, std::string server) : server_(std::move(server)) {
  Address address;
  socklen_t size = parse(listen_on, address);
  listening_ = UniqueFd(::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(listening_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listening_.get(), &address.any, size) != 0 || ::listen(listening_.get(), 128) != 0) {
    throw std::runtime_error("proxy: " + listen_on + ": " + errno_text(errno));
  }
  size = sizeof address;
  if (address.any.sa_family == AF_INET && ::getsockname(listening_.get(), &address.any, &size) == 0) port_ = ntohs(address.tcp.sin_port);
  waking_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  thread_ = std::thread([this] { relay(); });
}

ChaosProxy::~ChaosProxy() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake();
  thread_.join();
}

void ChaosProxy::wake() const {
  const std::uint64_t one = 1;
  if (::write(waking_.get(), &one, sizeof one) != sizeof one) std::abort();  // the thread would not notice
}

void ChaosProxy::weather(Weather weather) {
  {
    const std::lock_guard lock(mutex_);
    weather_ = weather;
  }
  wake();
}
void ChaosProxy::reset() {
  {
    const std::lock_guard lock(mutex_);
    resetting_ = true;
  }
  wake();
}
void ChaosProxy::half_close() {
  {
    const std::lock_guard lock(mutex_);
    halving_ = true;
  }
  wake();
}

void ChaosProxy::relay() {
  std::list<Pair> pairs;
  for (;;) {
    Weather now_is;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      now_is = weather_;
      if (std::exchange(resetting_, false)) {
        for (Pair& pair : pairs) {
          const linger at_once{.l_onoff = 1, .l_linger = 0};
          ::setsockopt(pair.client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
          ::setsockopt(pair.server.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        pairs.clear();
      }
      if (std::exchange(halving_, false)) {
        for (Pair& pair : pairs) ::shutdown(pair.client.get(), SHUT_WR);
      }
    }

    std::vector<pollfd> waits{{.fd = waking_.get(), .events = POLLIN, .revents = 0}, {.fd = listening_.get(), .events = POLLIN, .revents = 0}};
    auto now = Clock::now();
    auto next = now + std::chrono::seconds(1);
    const auto wanted = [&](const UniqueFd& fd, Flow& from_it, Flow& to_it) {
      short events = 0;
      if (!from_it.over && from_it.waiting < kMostWaiting && !now_is.black_hole) events |= POLLIN;
      if (!to_it.pieces.empty() && !now_is.black_hole) {
        const auto due = std::max(to_it.pieces.front().due, to_it.next_free);
        if (due <= now) events |= POLLOUT;
        else next = std::min(next, due);
      }
      waits.push_back({.fd = events == 0 ? -1 : fd.get(), .events = events, .revents = 0});
    };
    for (Pair& pair : pairs) {
      wanted(pair.client, pair.up, pair.down);
      wanted(pair.server, pair.down, pair.up);
    }
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
    if (::poll(waits.data(), waits.size(), static_cast<int>(std::max<std::int64_t>(wait, 0))) < 0) continue;
    std::uint64_t drained = 0;
    if (waits[0].revents != 0 && ::read(waking_.get(), &drained, sizeof drained) < 0) continue;
    now = Clock::now();

    std::size_t i = 2;
    for (Pair& pair : pairs) {
      const auto take = [&](const pollfd& wait_for, const UniqueFd& fd, Flow& flow) {
        if ((wait_for.revents & ~POLLOUT) == 0 || (wait_for.events & POLLIN) == 0) return;
        std::array<char, 65536> buffer;
        const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got > 0) {
          flow.pieces.push_back({std::string(buffer.data(), static_cast<std::size_t>(got)), now + now_is.latency});
          flow.waiting += static_cast<std::size_t>(got);
        } else if (got == 0) {
          flow.over = true;
        } else if (errno != EAGAIN && errno != EINTR) {
          pair.broken = true;
        }
      };
      const auto give = [&](const UniqueFd& fd, Flow& flow) {
        while (!flow.pieces.empty() && !now_is.black_hole && std::max(flow.pieces.front().due, flow.next_free) <= now) {
          std::string& bytes = flow.pieces.front().bytes;
          std::size_t most = bytes.size();
          if (now_is.slices) most = 1;
          if (now_is.bytes_per_second > 0) most = std::min<std::size_t>(most, std::max(1, now_is.bytes_per_second / 50));
          const ssize_t sent = ::send(fd.get(), bytes.data(), most, MSG_NOSIGNAL | MSG_DONTWAIT);
          if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR) pair.broken = true;
            return;
          }
          if (now_is.bytes_per_second > 0) flow.next_free = now + std::chrono::microseconds(1'000'000 * sent / now_is.bytes_per_second);
          bytes_ += sent;
          flow.waiting -= static_cast<std::size_t>(sent);
          bytes.erase(0, static_cast<std::size_t>(sent));
          if (bytes.empty()) flow.pieces.pop_front();
        }
        if (flow.over && flow.pieces.empty() && !std::exchange(flow.shut, true)) ::shutdown(fd.get(), SHUT_WR);
      };
      take(waits[i], pair.client, pair.up);
      take(waits[i + 1], pair.server, pair.down);
      give(pair.server, pair.up);
      give(pair.client, pair.down);
      i += 2;
    }
    std::erase_if(pairs, [](const Pair& pair) { return pair.broken || (pair.up.shut && pair.down.shut); });

    if (waits[1].revents == 0) continue;
    UniqueFd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) continue;
    ++connections_;
    Address address;
    const socklen_t size = parse(server_, address);
    UniqueFd server(::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(server.get(), &address.any, size) != 0) continue;  // it is away: the client sees its own connection close
    plain(client);
    plain(server);
    pairs.push_back({.client = std::move(client), .server = std::move(server)});
  }
}

}  // namespace romancy::test
