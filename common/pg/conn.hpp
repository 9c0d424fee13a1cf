// Conn: one asynchronous connection to PostgreSQL on the loop, in pipeline mode.
//
// Every query() is a transaction of its own (a Sync follows each), sent at once, answered in order: many may be
// under way. A batch of statements that must be one transaction is a function in sql/engine/, not several queries.
//
// Life: closed -> connecting -> up -> closed. open() starts connecting; then exactly one of on_up or on_down comes;
// after on_up, on_down comes once, when the connection is lost or close() was called. Before on_down every query
// under way is answered with a try-again error: its outcome is unknown. Conn never reconnects by itself, and never
// uses PQreset: open() makes a fresh PGconn. KeptConn (kept_conn.hpp) is the one that comes back by itself.
//
// Without `pipeline` the same promises hold, but queries wait here and are sent one at a time, unprepared.
//
// Failure: an address that does not answer within `connect_timeout` is given up (libpq's own is not enforced when
// asynchronous), and the next one of the connection string gets its turn, be it another of the same name or the next
// host. Names are looked up beside the loop. A connection that goes silent is noticed by TCP
// (keepalives, tcp_user_timeout 15 s); a server that is stopped but whose TCP lives is not: who cares beats.
// Server notices keep their SQLSTATE: an async FATAL (57P01 ..) is in the Error of on_down.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "common/io/loop.hpp"
#include "common/pg/params.hpp"
#include "common/pg/rows.hpp"
#include "common/pg/statement.hpp"

namespace romancy::pg {

struct ConnOptions {
  std::string conninfo;                                  // URI or key=value; never logged
  std::string application_name;                          // "romancy-timer"
  std::string schema = "romancy";                        // becomes the search_path; empty: the role's own stays
  std::vector<std::pair<std::string, std::string>> set;  // further settings, through the start-up packet (options=-c)
  std::chrono::milliseconds connect_timeout{5000};
  bool pipeline = true;                                  // the listener's connection turns this off
};

// What worker connections (resumer, timer, relay) set: pinned plans, because tables analysed empty give wrong ones
// (docs/adr/0001).
std::vector<std::pair<std::string, std::string>> worker_settings();

struct Notification {
  std::string channel;
  std::string payload;
  int server_pid = 0;
};

class Conn {
 public:
  using Reply = std::function<void(Result<Rows>)>;
  struct Handlers {
    std::function<void()> on_up;
    std::function<void(Error)> on_down;
    std::function<void(Notification)> on_notification;  // optional
  };
  Conn(io::Loop& loop, ConnOptions options, Handlers handlers);
  ~Conn();  // no callback any more
  Conn(const Conn&) = delete;
  Conn& operator=(const Conn&) = delete;

  void open();   // while on_down of the last life is still to come: after it
  void close();  // also gives up connecting; what has to be told because of it is told at the turn's end
  [[nodiscard]] bool up() const;
  [[nodiscard]] int backend_pid() const;  // 0 when not up
  // Has the other side's TCP taken all we sent? True on a Unix socket, and when not up. Tells a network that swallows
  // packets from a server that does not answer.
  [[nodiscard]] bool acknowledged() const;

  // Sends the statement (prepared on this connection at its first use). `reply` comes exactly once, on the loop,
  // never from within query(). When not up the reply is a try-again error. A parameter with a zero byte is
  // refused with 22021, before PostgreSQL sees it.
  void query(const Statement& statement, Params params, Reply reply);
  // The same for a text that is not worth preparing (LISTEN, SET). One command only.
  void query_text(std::string sql, Reply reply);
  [[nodiscard]] std::size_t under_way() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::pg
