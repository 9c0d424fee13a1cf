// session_step: the life of the LISTEN connection as a table. Pure: no I/O, no clock; session.cpp acts on it.
#pragma once
#include <string_view>

namespace romancy::listener {

enum class SessionState { Stopped, Connecting, Subscribing, Live, Backoff };
enum class SessionEvent {
  StartAsked,  // the owner wants to listen
  StopAsked,   // the owner wants no more
  Up,          // connected and authenticated
  Listening,   // the transaction with the LISTENs is committed
  Proved,      // our notification to ourselves has come back: notifications do arrive here
  Hint,        // a notification of somebody else
  Failed,      // the server refused a statement (a standby, say)
  Down,        // the connection could not be made, or is lost
  Overdue,     // what should have come by now has not
  Due,         // time for the next heartbeat or the next try
};
enum class SessionEffect {
  none,
  connect,   // a fresh connection
  listen,    // LISTEN on everything in one transaction; overdue after heartbeat_timeout
  prove,     // notify ourselves; overdue after heartbeat_timeout
  announce,  // tell the owner, before any hint; the next heartbeat is due after heartbeat_interval
  rest,      // the next heartbeat is due after heartbeat_interval
  deliver,   // hand the hint to the owner
  give_up,   // close this connection, tell the owner if it was live; the next try is due after the back-off
  close,     // close, and nothing is due any more
  abort,     // cannot happen: a bug of ours, the supervisor starts us again
};
struct SessionTransition {
  SessionState to;
  SessionEffect effect;
  bool operator==(const SessionTransition&) const = default;
};

SessionTransition step(SessionState from, SessionEvent event);

std::string_view name_of(SessionState state);

}  // namespace romancy::listener
