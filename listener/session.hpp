// Session: the one connection on which we LISTEN.
//
// States: Connecting -> Subscribing -> Live -> Backoff -> Connecting (session_step.cpp has the table). Only enter()
// changes the state, and logs it. The connection does nothing else and touches no table: LISTEN, NOTIFY, no more.
// Promise: after each entry into Live the owner gets on_live() before the first hint, because notifications sent
//          while we were away are lost.
// Promise: Live means proved: a notification of ours to ourselves came back when Live began and every
//          heartbeat_interval since, and the server said that it is no standby and knows that we listen. A pooler that
//          swallows LISTEN and a standby, which refuses it, never become Live.
// Through a pooler that is no proof: one in transaction mode may give us the same server connection for each statement,
//          and what that hears of itself comes with the statement's answer; what others notify reaches nobody. Whether
//          something stands between is told by the server process's number, which is another at both ends. Then each
//          beat is notified on a second connection, made for it: it can come here only as a message to an idle
//          connection, which a pooler passes on in session mode and in no other. Each beat, not the first alone, because
//          a pooler that is told so while it runs changes its mode under the connections it has.
// Promise: whatever ends Live unheard ends it within heartbeat_interval + heartbeat_timeout of silence, and the log says what it
//          was (diagnosis.hpp).
// No promise: order across channels; one hint per change (PostgreSQL folds duplicates in a transaction). A pooler in transaction
//          mode that hands out the server's own numbers (PgBouncer does not) would not be seen.
// Failure: any error leads to Backoff, logged once with the delay; the next try is a fresh connection. It never ends
//          by itself. An impossible event is a bug and aborts.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/backoff.hpp"
#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"
#include "common/pg/conn.hpp"
#include "common/proc/board.hpp"
#include "listener/diagnosis.hpp"
#include "listener/queue_fill.hpp"
#include "listener/session_step.hpp"

namespace romancy::listener {

struct SessionOptions {
  std::string conninfo;
  std::string schema;
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds reconnect_delay{100};
  std::chrono::milliseconds reconnect_delay_max{60'000};
  std::chrono::milliseconds heartbeat_interval{10'000};
  std::chrono::milliseconds heartbeat_timeout{5'000};
};

class Session {
 public:
  struct Handlers {
    std::function<void(bool first)> on_live;    // first: since start(); else there was a gap
    std::function<void(bool was_live, std::string_view why)> on_down;  // given up; the next try comes by itself
    std::function<void(std::string_view kind, std::string_view payload)> on_hint;  // unverified
  };
  Session(io::Loop& loop, SessionOptions options, Handlers handlers, proc::Slot slot);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  void stop();
  [[nodiscard]] bool live() const { return state_ == SessionState::Live; }

 private:
  void handle(SessionEvent event, std::string_view detail = {});
  void enter(SessionState next);
  void perform(SessionEffect effect, SessionState from, std::string_view detail);
  void connect();
  void listen();
  void prove();
  void announce();
  void give_up(bool was_live, std::string_view why);
  void failed(const Error& error);
  void take(const pg::Notification& notification);
  void ask_about_ourselves();
  void notify_ourselves();
  void notify_from_outside();
  void no_outside(std::string_view text);
  void watch_queue(double usage);
  [[nodiscard]] pg::ConnOptions conn_options() const;
  void late();
  void give_up_because(SessionEvent event, Trouble trouble, std::string_view text = {});

  io::Loop& loop_;
  SessionOptions options_;
  Handlers handlers_;
  proc::Slot slot_;
  SessionState state_ = SessionState::Stopped;
  Backoff backoff_;
  std::uint64_t attempt_ = 0;  // callbacks of a connection that was given up carry an older number and are dropped
  std::uint64_t ups_ = 0;      // connections made
  std::uint64_t lives_ = 0;    // entries into Live
  std::string heartbeat_channel_;  // new for each connection: nobody else's beat is taken for ours
  std::uint64_t beat_ = 0;         // the number of the beat that is under way
  Awaited awaited_ = Awaited::listen;
  bool beat_under_way_ = false;
  bool relayed_ = false;           // something stands between us and the server
  QueueFill fill_ = QueueFill::low;
  Trouble trouble_ = Trouble::none;  // of the connection that is given up
  std::chrono::steady_clock::time_point beat_sent_{};
  std::chrono::steady_clock::time_point heard_at_{};  // the last hint on this connection
  std::unique_ptr<pg::Conn> conn_;
  std::unique_ptr<pg::Conn> outside_;  // for one beat
  io::Alarm due_;
  io::Alarm overdue_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // what was left for the turn's end asks it first
};

}  // namespace romancy::listener
