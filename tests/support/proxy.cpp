#include "tests/support/proxy.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "common/io/line_stream.hpp"
#include "common/pg/blocking.hpp"

namespace romancy::test {
namespace {

constexpr std::size_t kMostWaiting = 1u << 20;  // bytes for a side that does not read; from there on nothing is read for it

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error("proxy: " + result.error().text);
  return std::move(*result);
}

std::string socket_of(const std::string& conninfo) {
  auto conn = must(pg::Blocking::connect({.conninfo = conninfo, .application_name = "test", .schema = {}, .set = {}}));
  return must(conn.query("SELECT split_part(current_setting('unix_socket_directories'), ',', 1) || '/.s.PGSQL.' || "
                         "current_setting('port')"))
      .str(0, 0);
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

// One direction of a connection.
struct Proxy::Flow {
  std::string in;   // read, not yet a whole message
  std::string out;  // to be sent
};

struct Proxy::Pair {
  UniqueFd client, server;
  Flow up{}, down{};
  bool begun = false;       // the client's first message has no type
  bool losing = false;      // the answer that comes is not for the client
  bool ending = false;      // nothing is read any more
  bool broken = false;      // a side takes no more

  [[nodiscard]] bool over() const { return broken || (ending && up.out.empty() && down.out.empty()); }
  [[nodiscard]] pollfd wait(const UniqueFd& fd, const Flow& from_it, const Flow& to_it) const {
    short events = 0;
    if (!ending && from_it.out.size() < kMostWaiting) events |= POLLIN;
    if (!to_it.out.empty()) events |= POLLOUT;
    // Who has hung up is readable for ever: not to be asked unless it is to be read.
    return {.fd = events == 0 ? -1 : fd.get(), .events = events, .revents = 0};
  }
  void send(const UniqueFd& fd, Flow& flow) {
    if (flow.out.empty()) return;
    const ssize_t sent = ::send(fd.get(), flow.out.data(), flow.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) flow.out.erase(0, static_cast<std::size_t>(sent));
    else if (!would_block()) broken = true;
  }
};

Proxy::Proxy(std::string conninfo) : direct_(std::move(conninfo)), server_(socket_of(direct_)) {
  listening_ = must(io::listen_unix(dir_.path() + "/.s.PGSQL.5432"));
  ending_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!ending_) throw std::runtime_error("proxy: eventfd");
  thread_ = std::thread([this] { relay(); });
}

Proxy::~Proxy() {
  const std::uint64_t one = 1;
  if (::write(ending_.get(), &one, sizeof one) != sizeof one) std::abort();  // the thread would not end
  thread_.join();
}

std::string Proxy::conninfo() const { return direct_ + " host=" + dir_.path() + " port=5432"; }

void Proxy::rules(std::vector<Rule> rules) {
  const std::lock_guard lock(mutex_);
  rules_ = std::move(rules);
}

void Proxy::relay() {
  std::vector<Pair> pairs;
  std::vector<pollfd> waits;
  for (;;) {
    waits = {{.fd = ending_.get(), .events = POLLIN, .revents = 0}, {.fd = listening_.get(), .events = POLLIN, .revents = 0}};
    for (const Pair& pair : pairs) {
      waits.push_back(pair.wait(pair.client, pair.up, pair.down));
      waits.push_back(pair.wait(pair.server, pair.down, pair.up));
    }
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits[0].revents != 0) return;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const pollfd &client = waits[2 + 2 * i], &server = waits[3 + 2 * i];
      if ((client.revents & ~POLLOUT) != 0 && (client.events & POLLIN) != 0) read(pairs[i], Way::to_server);
      if ((server.revents & ~POLLOUT) != 0 && (server.events & POLLIN) != 0) read(pairs[i], Way::to_client);
      pairs[i].send(pairs[i].server, pairs[i].up);
      pairs[i].send(pairs[i].client, pairs[i].down);
    }
    std::erase_if(pairs, [](const Pair& pair) { return pair.over(); });
    if (waits[1].revents != 0) accept(pairs);
  }
}

void Proxy::accept(std::vector<Pair>& pairs) const {
  UniqueFd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client) return;
  auto server = io::connect_unix(server_);
  if (server) pairs.push_back({.client = std::move(client), .server = std::move(*server)});
  // else it is away: the client sees its own connection close
}

void Proxy::read(Pair& pair, Way way) {
  const bool up = way == Way::to_server;
  Flow& flow = up ? pair.up : pair.down;
  std::array<char, 65536> buffer;
  const ssize_t got = ::recv((up ? pair.client : pair.server).get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got <= 0) {
    pair.ending = got == 0 || !would_block();
    return;
  }
  flow.in.append(buffer.data(), static_cast<std::size_t>(got));

  std::size_t done = 0;
  while (!pair.ending) {
    const std::string_view rest = std::string_view(flow.in).substr(done);
    const std::size_t typed = !up || pair.begun ? 1 : 0;
    constexpr std::size_t kLength = 4;  // it counts itself, and not the type
    if (rest.size() < typed + kLength) break;
    std::size_t size = 0;
    for (std::size_t i = 0; i < kLength; ++i) size = size << 8 | static_cast<unsigned char>(rest[typed + i]);
    if (rest.size() < typed + size) break;
    const std::string_view message = rest.substr(0, typed + size);
    pass(pair, way, typed == 1 ? message[0] : '\0', message, message.substr(typed + kLength));
    if (up) pair.begun = true;
    done += message.size();
  }
  flow.in.erase(0, done);
}

void Proxy::pass(Pair& pair, Way way, char type, std::string_view message, std::string_view content) {
  if (way == Way::to_client && pair.losing) {
    pair.ending = type == 'Z';
    return;
  }
  switch (fate_of(way, type, content)) {
    case Fate::passed: break;
    case Fate::swallowed: return;
    case Fate::cut: pair.ending = true; return;
    case Fate::answer_cut: pair.losing = true; break;
  }
  (way == Way::to_server ? pair.up : pair.down).out.append(message);
}

Proxy::Fate Proxy::fate_of(Way way, char type, std::string_view content) {
  const std::lock_guard lock(mutex_);
  for (Rule& rule : rules_) {
    if (rule.way != way || rule.type != type || rule.times == 0 || !content.starts_with(rule.text)) continue;
    --rule.times;
    ++met_;
    return rule.fate;
  }
  return Fate::passed;
}

}  // namespace romancy::test
