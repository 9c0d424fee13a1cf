// Pooler: a real PgBouncer of the test's own before a PostgreSQL server, on a Unix socket.
//
// It must not run as root: root runs it as the user postgres. It ends with the test, also when that is killed.
#pragma once
#include <memory>
#include <string>

#include "tests/support/daemons.hpp"

namespace romancy::test {

class Pooler {
 public:
  // `server`: the connection string of the server, as key=value. `mode`: "session" or "transaction".
  Pooler(const std::string& server, const std::string& mode);

  [[nodiscard]] std::string conninfo() const;  // the same database, through here
  // The mode from now on, for the connections it has too.
  void mode(const std::string& mode);
  [[nodiscard]] int logins() const;  // of clients, so far
  [[nodiscard]] std::string log() const;
  // Why there can be none here; empty: there can.
  static std::string why_not();

 private:
  void write(const std::string& mode) const;
  TempDir dir_;
  std::string server_;
  std::unique_ptr<Daemon> program_;
};

}  // namespace romancy::test
