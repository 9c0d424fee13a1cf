// notify: tells systemd (Type=notify) how we are, without libsystemd: one datagram to the socket in NOTIFY_SOCKET.
#pragma once
#include <chrono>
#include <string_view>

namespace romancy::supervisor {

// "READY=1", "STOPPING=1", "STATUS=..", "WATCHDOG=1". Nothing happens when nobody wants to know; a lost datagram is logged.
void notify(std::string_view state);
// "RELOADING=1" with the moment; "READY=1" has to follow.
void notify_reloading();
// How long systemd waits for the next "WATCHDOG=1" of this process; 0: it does not.
std::chrono::microseconds watchdog_interval();

}  // namespace romancy::supervisor
