// Proxy: stands between programs and a PostgreSQL server, on a Unix socket, and does to their connections what poolers,
// networks and dying servers do.
//
// One thread relays every connection, with one poll(). Each direction of a connection is cut into the protocol's
// messages; the first rule that fits a message says what becomes of it, and what no rule fits is passed on. Rules are
// for every connection, the open ones too.
//
// No promise: encryption, which libpq does not ask for on a Unix socket. A message is passed on once it is whole, so it has to
// fit into memory; one that its sender never finished is dropped.
#pragma once
#include <atomic>
#include <limits>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "tests/support/daemons.hpp"

namespace romancy::test {

class Proxy {
 public:
  enum class Way { to_server, to_client };
  enum class Fate {
    passed,
    swallowed,   // dropped; the connection goes on
    cut,         // not passed on: both sides are closed instead
    answer_cut,  // passed on; once the server has answered, up to ReadyForQuery, both sides are closed instead
  };
  struct Rule {
    Way way;
    char type;           // the message's: 'Q' is a command without parameters, 'A' a notification
    std::string text{};  // its content begins with this
    Fate fate;
    int times = std::numeric_limits<int>::max();  // for so many messages
  };

  // `conninfo`: of a server that is up, and has a Unix socket.
  explicit Proxy(std::string conninfo);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  [[nodiscard]] std::string conninfo() const;  // the same, but through here
  void rules(std::vector<Rule> rules);         // in place of those before
  [[nodiscard]] int met() const { return met_; }  // messages that a rule was for, so far

 private:
  struct Flow;
  struct Pair;
  void relay();
  void accept(std::vector<Pair>& pairs) const;
  void read(Pair& pair, Way way);
  void pass(Pair& pair, Way way, char type, std::string_view message, std::string_view content);
  Fate fate_of(Way way, char type, std::string_view content);

  TempDir dir_;
  std::string direct_, server_;  // connection string and socket of the server
  UniqueFd listening_, ending_;
  std::mutex mutex_;
  std::vector<Rule> rules_;
  std::atomic<int> met_ = 0;
  std::thread thread_;
};

}  // namespace romancy::test
