// romancy-timer. Peers: the supervisor (control socket, slot), the hub (hints, deaths of workers), PostgreSQL.
// Rights: the worker role of the schema; no other files than the configuration.
#include "common/proc/process.hpp"
#include "timer/timer.hpp"

int main(int argc, char** argv) {
  return romancy::proc::run_process(argc, argv,
                                    {.name = "timer", .summary = "fires timers and wait time-outs, ends dead sessions"},
                                    romancy::timer::make_timer);
}
