// LineStream: newline-delimited text over a connected Unix stream socket; UnixServer: accepts them.
//
// Promise: on_line gets whole lines, without the newline, in order; a line longer than max_line closes the stream.
// Promise: send() never blocks and never drops silently: it returns false when the bytes waiting to leave would
//          exceed max_queue, and then takes nothing of this line. The caller decides (the hub collapses to a resync).
// send() queues, and what a turn of the loop has sent leaves in one write at its end. close() and the destructor give
// what is still queued one try. A peer that hangs up is heard to its last line, also when our own write fails first.
// on_close is called exactly once, on the loop, also after close(); the object may be destroyed in any callback.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/base/unique_fd.hpp"
#include "common/io/loop.hpp"

namespace romancy::io {

struct Peer {  // SO_PEERCRED: who connected, at the time of the connect
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct LineCaps {
  std::size_t max_line = 64u << 10;   // bytes
  std::size_t max_queue = 1u << 20;  // bytes not yet accepted by the kernel
};

// Does the peer of this socket belong to the group, by its own or by one of its further groups? As of the connect.
bool peer_in_group(int fd, const Peer& peer, gid_t group);

class LineStream {
 public:
  struct Handlers {
    std::function<void(std::string_view line)> on_line;
    std::function<void(std::string_view why)> on_close;
    std::function<void()> on_drained;  // optional: the queue has become empty again
  };
  LineStream(Loop& loop, UniqueFd connected, LineCaps caps, Handlers handlers);
  ~LineStream();
  LineStream(const LineStream&) = delete;
  LineStream& operator=(const LineStream&) = delete;

  // Adds the newline; the line itself must not have one. False: queue full or closed.
  [[nodiscard]] bool send(std::string_view line);
  [[nodiscard]] std::size_t queued_bytes() const;
  // What the kernel has taken and the peer has not read yet, in the kernel's own measure (more than the bytes, zero when
  // there are none). For a Unix socket.
  [[nodiscard]] std::size_t unread() const;
  [[nodiscard]] bool overlong() const;  // it was closed because of a line longer than max_line
  void close();
  [[nodiscard]] Peer peer() const;
  [[nodiscard]] int fd() const;  // to be handed over to another program; -1 when closed

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Accepts connections on a listening Unix socket made by listen_unix() or inherited.
class UnixServer {
 public:
  UnixServer(Loop& loop, UniqueFd listening, std::function<void(UniqueFd connected, Peer peer)> on_connect);
  ~UnixServer();
  UnixServer(const UnixServer&) = delete;
  UnixServer& operator=(const UnixServer&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Makes a listening socket at `path` (mode 0660, close-on-exec, non-blocking). Replaces a stale socket file, but
// refuses when somebody answers on it, when the path is longer than 107 bytes, or when it is not a socket.
Result<UniqueFd> listen_unix(const std::string& path);
// Connects to `path` (close-on-exec, non-blocking); try-again when nobody listens.
Result<UniqueFd> connect_unix(const std::string& path);

}  // namespace romancy::io
