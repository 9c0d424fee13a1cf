#include "tests/process/listener_proxy.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <utility>

#include "common/io/line_stream.hpp"

namespace romancy::test {
namespace {

constexpr int kLook = 20;  // milliseconds between two looks whether the test is over

bool readable(int fd) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, kLook) == 1;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
    if (::poll(&wait, 1, 60'000) != 1) return false;
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

Proxy::Proxy(const std::string& dir, std::string to) : to_(std::move(to)) {
  auto fd = io::listen_unix(dir + "/.s.PGSQL.5432");
  if (!fd) throw std::runtime_error(fd.error().text);
  listening_ = std::move(*fd);
  server_ = std::thread([this] { serve(); });
}

Proxy::~Proxy() {
  stop_ = true;
  server_.join();
}

void Proxy::serve() {
  while (!stop_) {
    if (!readable(listening_.get())) continue;
    UniqueFd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) relays_.emplace_back([this, fd = client.release()] { relay(UniqueFd(fd)); });
  }
  for (auto& thread : relays_) thread.join();
}

void Proxy::relay(UniqueFd client) {
  auto server = io::connect_unix(to_);
  if (!server) return;
  std::string from_server;
  std::array<char, 16384> buffer;
  std::array<pollfd, 2> wait{{{.fd = client.get(), .events = POLLIN, .revents = 0},
                              {.fd = server->get(), .events = POLLIN, .revents = 0}}};
  while (!stop_) {
    if (::poll(wait.data(), wait.size(), kLook) <= 0) continue;
    if (wait[0].revents != 0) {
      const ssize_t got = ::recv(client.get(), buffer.data(), buffer.size(), 0);
      if (got <= 0 || !send_all(server->get(), {buffer.data(), static_cast<std::size_t>(got)})) return;
    }
    if (wait[1].revents != 0) {
      const ssize_t got = ::recv(server->get(), buffer.data(), buffer.size(), 0);
      if (got <= 0) return;
      from_server.append(buffer.data(), static_cast<std::size_t>(got));
      if (!send_all(client.get(), filtered(from_server))) return;
    }
  }
}

std::string Proxy::filtered(std::string& in) {
  constexpr std::size_t kHead = 5;  // a letter, and a length that counts itself
  std::string out;
  std::size_t done = 0;
  while (in.size() - done >= kHead) {
    std::uint32_t length = 0;
    for (std::size_t i = 1; i < kHead; ++i) length = length << 8 | static_cast<unsigned char>(in[done + i]);
    if (in.size() - done < 1 + length) break;
    if (swallow_ && in[done] == 'A') ++swallowed_;
    else out.append(in, done, 1 + length);
    done += 1 + length;
  }
  in.erase(0, done);
  return out;
}

}  // namespace romancy::test
