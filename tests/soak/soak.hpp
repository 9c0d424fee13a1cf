// soak: a whole installation (supervisor, listener, timer, relay, three workers of two versions, a program that serves a queue with SQL alone, and
// clients) on a server of its own, which runs random programs (program.hpp) while processes are killed and stopped, the database
// restarted, connections ended, and the receiver of events fails.
//
// The seed decides everything that is chosen: the programs, what clients do, and, from a stream of its own, the blows (Chaos).
// When what is chosen happens is the machine's affair.
//
// The oracle, for each program when the last of its instances has ended: the model (program.hpp) over results, effects and
// messages; no timer before its moment, by the rows of history; one result an operation, no message twice; schedules, one start a
// tick. All along: the invariants, no instance parked or changed after its end, no program older than its guard. At the end: every
// event delivered, under one id with one content; then retention removes what is left, and no row is left over anywhere.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <romancy/client.hpp>

#include "common/pg/blocking.hpp"
#include "tests/support/site.hpp"
#include "tests/soak/program.hpp"

namespace romancy::soak {

struct SoakOptions {
  std::uint64_t seed = 1;
  std::chrono::seconds length{600};  // new programs begin for so long
  int at_once = 30;                  // programs
  int most = 1'000'000;              // programs in all
  enum class Blows { none, all, long_stops } blows = Blows::all;  // long stops: of workers, for longer than a session lives
  std::string broken{};              // a script that breaks the engine, to see that it is found out
  std::size_t enough = 20;           // violations that end it
  std::chrono::seconds guard{150};   // of one program, which lasts for seconds
};

struct Report {
  std::vector<std::string> violations;
  std::map<std::string, int> covered, blows;
  int programs = 0, samples = 0;
  std::int64_t instances = 0, events = 0, longest_ms = 0;
};

// What clients do to programs: the actions of each in their order, those of different programs side by side.
class Clients {
 public:
  using Clock = std::chrono::steady_clock;
  Clients(std::string conninfo, std::function<void(const std::string&, const std::string&)> violation);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  void take(const std::shared_ptr<const Program>& program);
  [[nodiscard]] bool done(const std::string& program);  // all its actions have happened
  std::map<std::string, int> counts();

 private:
  struct Turn {
    std::shared_ptr<const Program> program;
    std::size_t next = 0;
    Clock::time_point due;
    bool busy = false;
  };
  enum class Came { done, not_yet };
  void work();
  Came perform(std::unique_ptr<pg::Blocking>& conn, Client& client, const Turn& turn);
  Came by_client(Client& client, const Action& action);
  // The statements, and the row that says they happened, in one transaction; again until it is known that they did.
  void once(std::unique_ptr<pg::Blocking>& conn, const std::string& key, const Action& action,
            const std::vector<std::pair<std::string, pg::Params>>& statements);

  const std::string conninfo_;
  const std::function<void(const std::string&, const std::string&)> violation_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Turn> turns_;
  std::map<std::string, int> counts_;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

// Blows, one after the other, from a stream of random numbers of their own.
class Chaos {
 public:
  Chaos(const SoakOptions& options, test::Site& site, std::unique_ptr<test::Daemon>& server, std::atomic<int>& receiver_trouble);
  ~Chaos();
  // No more of them; all is healed. The thread stays: what a thread started ends with it (Daemon).
  void rest();
  std::map<std::string, int> counts();

 private:
  void run();
  void blow();
  void kill(const std::string& component, int signal);
  void pause(std::chrono::milliseconds length);

  Random random_;
  const bool long_stops_;
  test::Site& site_;
  std::unique_ptr<test::Daemon>& server_;
  std::atomic<int>& receiver_trouble_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false, resting_ = false, gone_ = false;
  std::map<std::string, int> counts_;
  std::thread thread_;
};

void start_server(test::Site& site, std::unique_ptr<test::Daemon>& server);

Report run(const SoakOptions& options);

}  // namespace romancy::soak
