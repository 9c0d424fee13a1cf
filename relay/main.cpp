// romancy-relay. Peers: the supervisor (control socket, slot), the hub (hints), PostgreSQL, the sink (HTTP).
// Rights: the worker role of the schema; outgoing connections to the sink; no other files than the configuration.
#include "common/proc/process.hpp"
#include "relay/relay.hpp"

int main(int argc, char** argv) {
  return romancy::proc::run_process(argc, argv,
                                    {.name = "relay", .summary = "delivers the events of the outbox over HTTP"},
                                    romancy::relay::make_relay);
}
