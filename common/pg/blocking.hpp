// Blocking: a plain blocking connection, for the command line, migrations, activity threads and tests.
// Never used on a loop's thread.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/pg/conn.hpp"

namespace romancy::pg {

class Blocking {
 public:
  // Connects (Error try-again if the database is away, refuse if it says no: 28xxx, 3D000). As with Conn, the look-up of a
  // host's name and each of its addresses have `connect_timeout`.
  static Result<Blocking> connect(const ConnOptions& options);

  // One command with parameters.
  Result<Rows> query(std::string_view sql, const Params& params = {});
  Result<Rows> query(const Statement& statement, const Params& params = {}) { return query(statement.text, params); }
  // The same, but when the descriptor `interrupt` becomes readable meanwhile, the server is asked once to cancel the
  // command; the answer is what came of that: 57014, or the rows if it was too late. A COPY closes the connection.
  Result<Rows> query(std::string_view sql, const Params& params, int interrupt);
  // A script of several commands without parameters; the last one's rows.
  Result<Rows> script(std::string_view sql);
  // Waits until notifications are here, and gives their payloads; none: the deadline has passed.
  Result<std::vector<std::string>> wait_notified(std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] int backend_pid() const;
  [[nodiscard]] bool alive() const;  // false: the connection is lost; make another
  enum class Transaction { none, open, failed };
  [[nodiscard]] Transaction transaction() const;

 private:
  struct Close {
    void operator()(void* conn) const;
  };
  std::unique_ptr<void, Close> conn_;
};

}  // namespace romancy::pg
