// Supervisor: starts the other processes, watches, restarts and stops them.
//
// Small on purpose: one thread, no database, no lock that a child could hold, nothing that blocks. It owns what must
// survive a child: the lock, the status board, the hub's listening socket (subscribers of a dead listener wait in its
// backlog), the control socket.
//
// Start: [migrate once] listener, timer, relay, resumers; nobody waits for another to be ready, because each works
//        without the others.
// Stop:  relay, timer and resumers drain; the listener last, so that late hints still arrive.
//        A second SIGTERM: SIGKILL for all.
// Promise: after run() returned no process of ours is left. If the supervisor itself is killed, its children see it
//          (PDEATHSIG, EOF on the control socket), and the next supervisor takes lock and sockets over.
// Failure: what it cannot do without (directory, lock, board, sockets) ends it with 1, wrong configuration with 78.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/base/json.hpp"
#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"
#include "common/proc/board.hpp"
#include "common/proc/config.hpp"
#include "supervisor/child.hpp"
#include "supervisor/control.hpp"
#include "supervisor/migration.hpp"

namespace romancy::supervisor {

class Supervisor {
 public:
  // `config.path` is absolute or empty.
  static Result<std::unique_ptr<Supervisor>> create(proc::Config config);
  ~Supervisor();

  int run();  // the exit code

 private:
  Supervisor(proc::Config config, UniqueFd lock, proc::Board board, UniqueFd hub, UniqueFd control);
  void start_all();
  void begin_stop();
  void go_on_stopping();
  void on_signal(int signal);
  void reap();
  void tick();
  Json answer(const std::string& command, const std::string& component);
  std::vector<Child*> find(const std::string& component);

  using Clock = std::chrono::steady_clock;
  const proc::Config config_;
  UniqueFd lock_;  // held as long as we live
  proc::Board board_;
  UniqueFd hub_;
  io::Loop loop_;
  Surroundings around_;
  std::vector<std::unique_ptr<Child>> children_;  // in the order of the start
  std::unique_ptr<Migration> migration_;          // until it is done
  Control control_;
  io::Alarm tick_;
  const Clock::time_point started_at_ = Clock::now();
  Clock::time_point last_tick_ = Clock::now();
  Clock::time_point watch_from_{};
  bool stopping_ = false;
  int exit_code_ = 0;
};

}  // namespace romancy::supervisor
