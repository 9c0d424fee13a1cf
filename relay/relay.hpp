// Relay: delivers the events of the outbox to the sink, as CloudEvents over HTTP.
//
// Model. One database connection, one session of its own kind. A claim marks events as ours in a short transaction;
// then they are sent, up to `parallel` at once, with no transaction open; then the database is told what became of
// them, on condition that they are still ours (session and attempt). Many outcomes travel together.
//
// Promises: at least once, whatever dies when: an event leaves the outbox only after the sink has said 2xx (or gave it
//           up for good, with the reason in last_error). Its id never changes, so receivers can tell repetitions.
//           Events are sent in the order they were added; the outbox waits for nobody: a failing event is tried again
//           later, while others go on.
// No promise: order of arrival (parallel = 1 comes close: only a failing event is overtaken); exactly once.
// When it dies between delivery and bookkeeping, its session ends (the timer sees to that within a second, or the
//           session time-out) and the event is delivered again. Without any timer it is due again after the hold.
// Failure: while the database is away it is not ready and reconnects, with a new session; a wrong relay.url or a schema
//           it must not use is exit 78. Without relay.url events stay where they are, and it says so once.
#pragma once
#include <memory>

#include "common/proc/process.hpp"

namespace romancy::relay {

std::unique_ptr<proc::Service> make_relay(proc::Process& process);

}  // namespace romancy::relay
