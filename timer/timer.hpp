// Timer: fires what is due, starts what schedules start, and ends the sessions of the dead.
//
// Model. Two lanes look at the table of deadlines: one for what workflows sleep on (sleep, retry, start_at; and the leases and pauses of
// queued activities), one for
// the time-outs of waits, because the operator gives the two their own poll intervals. A look is two statements in one
// round trip: fire what is due, then ask how far ahead the next one is; the lane's alarm is set for exactly then. A
// timer_expired hint about something earlier than the alarm causes a look too; one about something later costs nothing.
// A third lane does the same for the ticks of schedules (schedule_lane.hpp).
//
// Promises: fires at the deadline itself, not at a tick, while hints are heard or the timer was seen by an earlier
//           look; otherwise at the latest one poll interval after it (fallback_interval while hints are heard).
//           Only the database's clock decides. Several timers, on one host or many, share the work; none fires twice.
//           After a full batch the next look follows at once.
// No promise: order between instances; that a timer of a workflow nobody serves waits (its event goes to the inbox).
// Failure: while the database is away it is not ready and reconnects; a schema it must not use is exit 78; a statement
//          that PostgreSQL calls nonsense is a bug: exit 70, the supervisor starts it again.
#pragma once
#include <memory>

#include "common/proc/process.hpp"

namespace romancy::timer {

std::unique_ptr<proc::Service> make_timer(proc::Process& process);

}  // namespace romancy::timer
