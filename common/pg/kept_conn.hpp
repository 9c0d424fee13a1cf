// KeptConn: a Conn that comes back by itself, with a Backoff. For daemons, for which a database that is away is
// no reason to exit. on_up comes after every (re)connect: the owner begins a new session there.
// on_down comes for every connection lost and for every attempt that failed, whatever the error: a password may be
// put right, a database created.
#pragma once
#include <functional>
#include <memory>

#include "common/base/backoff.hpp"
#include "common/io/alarm.hpp"
#include "common/pg/conn.hpp"

namespace romancy::pg {

class KeptConn {
 public:
  KeptConn(io::Loop& loop, ConnOptions options, Backoff backoff, Conn::Handlers handlers);
  void open();
  void close();  // for good: no reconnect; on_down comes if it was up or connecting
  // The connection is up but of no use (no session could be begun on it): on_down comes, and the next try waits longer.
  void reopen();
  [[nodiscard]] bool up() const { return conn_.up(); }
  [[nodiscard]] Conn& conn() { return conn_; }
  void query(const Statement& statement, Params params, Conn::Reply reply) {
    conn_.query(statement, std::move(params), std::move(reply));
  }

 private:
  Conn::Handlers handlers_;
  Backoff backoff_;
  bool wanted_ = false, of_no_use_ = false;
  Conn conn_;
  io::Alarm retry_;
};

}  // namespace romancy::pg
