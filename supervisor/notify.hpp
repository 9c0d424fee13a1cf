// notify: tells systemd (Type=notify) how we are, without libsystemd: one datagram to the socket in NOTIFY_SOCKET.
#pragma once
#include <string_view>

namespace romancy::supervisor {

// "READY=1", "STOPPING=1". Nothing happens when nobody wants to know; a lost datagram is logged.
void notify(std::string_view state);

}  // namespace romancy::supervisor
