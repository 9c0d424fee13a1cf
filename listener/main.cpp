// romancy-listener: LISTENs on PostgreSQL and tells the other processes of this host (listener.hpp).
//
// Peers: PostgreSQL (one connection, LISTEN and NOTIFY only); subscribers on runtime_dir/hub.sock; the supervisor.
#include <memory>

#include "common/proc/process.hpp"
#include "listener/listener.hpp"

int main(int argc, char** argv) {
  const romancy::proc::ProcessSpec spec{
      .name = "listener",
      .summary = "hears PostgreSQL's notifications and hands them to the processes of this host"};
  return romancy::proc::run_process(argc, argv, spec, [](romancy::proc::Process& process) {
    return std::make_unique<romancy::listener::Listener>(process);
  });
}
