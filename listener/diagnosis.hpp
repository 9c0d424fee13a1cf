// diagnosis: what is wrong with a connection on which notifications do not come back. Pure.
//
// Every failure ends the same way, in another connection; but whoever is woken at night wants to know which one it is:
// the network, a server process that hangs, a pooler in between, a server that cannot notify.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace romancy::listener {

enum class Trouble {
  none,
  away,          // no connection could be made, or it was closed: the text says why
  black_hole,    // what we sent is not acknowledged: the network, or the whole host, is gone
  hung_backend,  // it is acknowledged, and nobody answers: the server process (or a pooler) stands still
  pooler,        // statements are answered, notifications do not come: a pooler swallows LISTEN
  standby,       // the server is a standby: no LISTEN, no NOTIFY there
  refused,       // the server refused a statement for another reason: the text says why
};
std::string_view name_of(Trouble trouble);  // "black_hole": as in the log

// What is waited for.
enum class Awaited {
  listen,  // the answer to LISTEN
  look,    // the answer to the question whether this connection listens
  notify,  // the answer to NOTIFY
  echo,    // the notification itself; NOTIFY was answered
};

// It did not come in time. `acknowledged`: the other side's TCP has taken all we sent; so it is on a Unix socket.
Trouble overdue(Awaited awaited, bool acknowledged);
// The server was asked about this connection: is it in recovery, and how many channels does it listen on of `wanted`.
Trouble look(bool in_recovery, std::int64_t channels, std::int64_t wanted);
// The server refused a statement.
Trouble refusal(std::string_view sqlstate);

// A sentence for the log. `within`: the time it had ("5s").
std::string explain(Trouble trouble, Awaited awaited, std::string_view within);

}  // namespace romancy::listener
