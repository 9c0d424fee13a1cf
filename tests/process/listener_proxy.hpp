// Proxy: stands between the listener and PostgreSQL, and can do what a pooler in transaction mode does: pass every
// answer but no notification. On a Unix socket the server's bytes are plain messages from the first one on.
#pragma once
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace romancy::test {

class Proxy {
 public:
  // Listens as if it were the server with `port` in directory `dir`, and connects to the server's socket `to`.
  Proxy(const std::string& dir, std::string to);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  void swallow(bool notifications) { swallow_ = notifications; }
  [[nodiscard]] int swallowed() const { return swallowed_; }

 private:
  void serve();
  void relay(UniqueFd client);
  // Takes the whole messages off `in`; what may pass is the answer.
  std::string filtered(std::string& in);

  std::string to_;
  UniqueFd listening_;
  std::atomic<bool> swallow_ = false, stop_ = false;
  std::atomic<int> swallowed_ = 0;
  std::vector<std::thread> relays_;  // of serve()'s thread alone
  std::thread server_;
};

}  // namespace romancy::test
