// Supervisor: starts the other processes, watches, restarts and stops them.
//
// Small on purpose: one thread, no database, no lock that a child could hold, nothing that blocks. It owns what must
// survive a child: the lock, the status board, the hub's listening socket (subscribers of a dead listener wait in its
// backlog), the control socket.
//
// Start:   [migrate once] listener, timer, relay, resumers; nobody waits for another to be ready, because each works
//          without the others.
// Stop:    relay, timer and resumers drain; the listener last, so that late hints still arrive.
//          A second SIGTERM: SIGKILL for all.
// Reload:  (SIGHUP, "reload") the file is read once; a child that is thrown away tries the text (check.hpp). Refused: nothing
//          changes. Accepted: it becomes the configuration in effect (a copy in the runtime directory, which every process
//          reads from then on), the readers of what has changed are restarted, the Held try again.
// Upgrade: (SIGUSR2, "upgrade") the program that is at our path by now proves, as a child that is thrown away, that it can
//          take over; then it is executed in our place, with our pid, children, sockets and board (handover.hpp), and
//          replaces the children one by one (rollout.hpp). A program that cannot take over changes nothing.
// Promise: after run() returned no process of ours is left. If the supervisor itself is killed, its children see it
//          (PDEATHSIG, EOF on the control socket), and the next supervisor takes lock, sockets and counters over.
// Failure: what it cannot do without (directory, lock, board, sockets) ends it with 1, wrong configuration with 78.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/json.hpp"
#include "common/io/alarm.hpp"
#include "common/io/loop.hpp"
#include "common/proc/board.hpp"
#include "common/proc/config.hpp"
#include "supervisor/check.hpp"
#include "supervisor/child.hpp"
#include "supervisor/control.hpp"
#include "supervisor/migration.hpp"

namespace romancy::supervisor {

class Supervisor {
 public:
  // `config.path` is absolute or empty; `text`: what was read there.
  static Result<std::unique_ptr<Supervisor>> create(proc::Config config, const std::string& text);
  // In the program that an upgrade has executed; `config` is the one in effect.
  static Result<std::unique_ptr<Supervisor>> take_over(proc::Config config, const Json& handed);
  ~Supervisor();

  int run();  // the exit code

 private:
  struct Owned {  // what survives a child, and an upgrade
    UniqueFd lock, hub, control;
    proc::Board board;
    std::string in_effect;
  };
  Supervisor(proc::Config config, Owned owned);
  void start_all();
  void begin_stop();
  void go_on_stopping();
  void on_signal(int signal);
  void reap();
  void tick();
  void tell_systemd();
  void feed_watchdog();
  void answer(const Control::Request& request, const Control::Reply& reply);
  Json command(const Control::Request& request);
  std::vector<Child*> find(const std::string& component);
  std::vector<Child*> everybody();
  std::vector<ChildReport> reports();
  std::vector<Component> planned();

  // reload.cpp
  void reload(Control::Reply reply);
  void reloaded(const Result<void>& checked, const std::string& text);
  Json apply(const proc::Config& after);
  void end_reload(const Json& answer);

  // upgrade.cpp
  void upgrade(Control::Reply reply);
  void execute();
  Json hand_over() const;
  void begin_rollout();
  void roll();
  void end_rollout(const std::string& trouble);

  using Clock = std::chrono::steady_clock;
  proc::Config config_;
  UniqueFd lock_;  // held as long as we live
  proc::Board board_;
  UniqueFd hub_;
  const int control_fd_;
  const std::string program_;  // our own path, also when another program is there by now
  io::Loop loop_;
  Surroundings around_;
  std::vector<std::unique_ptr<Child>> children_;  // in the order of the start
  std::vector<std::unique_ptr<Child>> leaving_;   // no longer wanted: until they are gone
  std::unique_ptr<Child> arriving_;               // the next listener, beside the one in children_
  std::unique_ptr<Migration> migration_;          // until it is done
  Control control_;
  io::Alarm tick_, soon_, watchdog_;
  std::chrono::microseconds fed_every_{0};  // half of what systemd allows; 0: it does not watch us
  Clock::time_point started_at_ = Clock::now();
  Clock::time_point last_tick_ = Clock::now();
  Clock::time_point watch_from_{};
  std::string level_;       // of our own log, when an operator said so
  std::string note_;        // for the status: a refused reload, an upgrade that was halted
  std::string told_;        // systemd, last
  std::unique_ptr<Check> check_;       // a reload or an upgrade is being tried
  std::vector<Control::Reply> askers_;  // of it
  bool reload_again_ = false;          // a SIGHUP came while one was being tried
  std::deque<std::string> to_replace_;  // rollout: those that follow
  std::string replacing_;
  pid_t replaced_pid_ = 0;
  bool rolling_ = false;
  bool taken_over_ = false;
  bool stopping_ = false;
  int exit_code_ = 0;
};

}  // namespace romancy::supervisor
