// ChaosProxy: weather. Stands between programs and a server, on TCP or a Unix socket, and passes bytes on as bad networks
// do: late, slowly, one at a time, not at all; or breaks the connections.
//
// It knows nothing of what it carries (proxy.hpp is the one that knows the messages of PostgreSQL and acts on some of them),
// so it stands before a server that speaks anything. One thread, one poll(). What is set holds for every connection, the open
// ones too; bytes that were already taken keep the time they were given.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "common/base/unique_fd.hpp"

namespace romancy::test {

struct Weather {
  std::chrono::milliseconds latency{0};  // each way
  int bytes_per_second = 0;              // each way of each connection; 0: as fast as it goes
  bool slices = false;                   // each byte in a segment of its own
  bool black_hole = false;               // nothing is passed on, nothing is closed, new connections are taken
};

class ChaosProxy {
 public:
  // An address: "/path/of/socket" or "127.0.0.1:5432"; listening on port 0 takes any.
  ChaosProxy(const std::string& listen_on, std::string server);
  ~ChaosProxy();
  ChaosProxy(const ChaosProxy&) = delete;
  ChaosProxy& operator=(const ChaosProxy&) = delete;

  void weather(Weather weather);
  void reset();       // every open connection ends with RST
  void half_close();  // of every open connection the clients' sides see the end of what the server says, and nobody else anything
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] int connections() const { return connections_; }       // taken so far
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }          // passed on so far

 private:
  struct Flow;
  struct Pair;
  void relay();
  void wake() const;

  const std::string server_;
  int port_ = 0;
  UniqueFd listening_, waking_;
  std::mutex mutex_;
  Weather weather_;
  bool resetting_ = false, halving_ = false, ending_ = false;
  std::atomic<int> connections_ = 0;
  std::atomic<std::int64_t> bytes_ = 0;
  std::thread thread_;
};

}  // namespace romancy::test
