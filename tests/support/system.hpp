// System: the real processes of one installation, started by hand without a supervisor, on a schema of the test's own.
//
// Modes: every test that runs workflows runs with the listener and without it (polling alone, short intervals).
// The invariants of the storage are sampled while it lives.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/pg/blocking.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {

struct SystemOptions {
  bool listen = true;
  std::string conninfo;         // empty: the shared test cluster
  std::string through{};        // what the programs connect to, if it is not that: a Proxy's
  std::string extra;            // further lines of TOML
  std::string worker = "test_worker";
  std::string fallback = "10s";         // poll.fallback_interval
  std::string session_timeout = "2s";
  std::string tables =                  // what its worker's activities write to
      "CREATE TABLE effects (key text PRIMARY KEY, times int NOT NULL);"
      "CREATE TABLE gates (name text PRIMARY KEY)";
  std::chrono::milliseconds sample_every{20};  // the invariants
};

class System {
 public:
  explicit System(SystemOptions options);
  ~System();

  void start_listener();
  void start_timer();
  void start_relay();
  void start_worker(int number = 1, std::map<std::string, std::string> environment = {},
                    std::vector<std::string> more_arguments = {});
  void start_all(int workers = 2);  // listener (when listening), timer, workers

  Daemon& listener() { return *listener_; }
  Daemon& timer() { return *timer_; }
  Daemon& relay() { return *relay_; }
  Daemon& worker(int number = 1) { return *workers_.at(number); }
  std::string stop_all();  // SIGTERM to all, workers first; what did not end with exit code 0, empty if nothing

  // SQL as a client of the schema; fails the test on an error.
  pg::Rows sql(const std::string& text, const pg::Params& params = {});
  std::string start(const std::string& workflow, const std::string& input, const std::string& id);
  // Waits until the instance has this status (a word of workflow_instances); fails the test with its state if not.
  void expect_status(const std::string& id, const std::string& status);
  std::string output(const std::string& id);  // JSON text
  std::int64_t count(const std::string& query, const pg::Params& params = {});
  // Waits until no instance has anything to do, then checks that nothing is left over.
  void expect_quiescent();

  [[nodiscard]] const std::string& schema() const { return schema_.name(); }
  [[nodiscard]] const std::string& config() const { return config_; }
  [[nodiscard]] const Schema& made() const { return schema_; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  void stop_sampling();  // before a test stops the server under the sampler

 private:
  SystemOptions options_;
  TempDir dir_;
  Schema schema_;
  std::string config_;
  std::unique_ptr<pg::Blocking> client_;
  std::unique_ptr<InvariantSampler> sampler_;
  std::unique_ptr<Daemon> listener_, timer_, relay_;
  std::map<int, std::unique_ptr<Daemon>> workers_;
};

}  // namespace romancy::test
