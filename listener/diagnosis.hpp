// diagnosis: what is wrong with a connection on which notifications do not come back. Pure.
//
// Every failure ends the same way, in another connection; but whoever is woken at night wants to know which one it is:
// the network, a server process that hangs, a pooler in between, a server that cannot notify.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "common/proc/trouble.hpp"

namespace romancy::listener {

using proc::Trouble;

// What is waited for.
enum class Awaited {
  listen,  // the answer to LISTEN
  look,    // the answer to the question whether this connection listens
  notify,  // the answer to NOTIFY
  echo,    // the notification itself; NOTIFY was answered
  // Where something stands between us and the server:
  outside,       // a second connection, and its answer to NOTIFY
  outside_echo,  // the notification that was sent there
};

// It did not come in time. `acknowledged`: the other side's TCP has taken all we sent; so it is on a Unix socket.
Trouble overdue(Awaited awaited, bool acknowledged);
// The server was asked about this connection: is it in recovery, and how many channels does it listen on of `wanted`.
Trouble look(bool in_recovery, std::int64_t channels, std::int64_t wanted);
// Who began the connection said which server process it is with (libpq's PQbackendPID); the server says which one it
// is. A pooler hands out numbers of its own.
bool relayed(std::int64_t begun_with, std::int64_t answered_by);
// The server refused a statement.
Trouble refusal(std::string_view sqlstate);

// A sentence for the log. `within`: the time it had ("5s").
std::string explain(Trouble trouble, Awaited awaited, std::string_view within);

}  // namespace romancy::listener
