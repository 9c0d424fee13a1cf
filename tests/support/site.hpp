// Site: one installation as an operator has it (supervisor, listener, timer, relay, two workers) on a server of the test's own,
// under a load that does not stop, and the oracle that is asked when a fault is over.
//
// A row of the fault matrix (Row) names what is done, what heals it, how it is proved that it really happened, and within what
// time work has to go on. run() does the rest: start, load, fault, heal, measure, drain, oracle, one line of JSON
// for docs/reliability.md.
//
// "Work goes on" is measured by probes: the shortest whole path, one begun every 50 ms. The time to recover is the longest
// that any probe waited, counted from the fault, or, where nothing can go on before (the server is away), from the moment
// it was healed. It is reported. It fails a row beyond the bound only where ROMANCY_FAULTS_STRICT is set (the
// lane `./dev test --faults`); elsewhere, on machines that are busy, beyond ten times of it.
//
// The oracle, after the drain: every workflow is completed; every effect is there, once, with its result recorded once;
// messages came in order per key; no timer was early; each event was delivered, always with the same content; no lease,
// poke or unread row is left; the invariants held in every sample; one LISTEN backend; descriptors and memory as before;
// the supervisor is the same process.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/base/json.hpp"
#include "common/pg/blocking.hpp"
#include "tests/support/server.hpp"
#include "tests/process/relay_http_server.hpp"
#include "tests/support/daemons.hpp"
#include "tests/support/pg_schema.hpp"

namespace romancy::test {

struct SiteOptions {
  ServerOptions server{};
  std::string extra{};                                 // further lines of TOML, whole sections that are not written here
  std::string listener{};                              // further lines of [listener]
  std::string supervisor{};                            // further lines of [supervisor]
  std::string relay{};                                 // further lines of [relay]
  std::string resumer{};                               // further lines of the [[resumer]] whose processes are worker.1 and .2
  std::size_t components = 5;                          // with those of `extra`
  std::string session_timeout = "10s";
  std::map<std::string, std::string> environment{};    // of the supervisor, and so of all
  std::function<std::string(Server&)> url{};           // what the suite connects to, when not the server itself
  // The worker's command, given the site's directory and its path: what stands in the array.
  std::function<std::string(const std::string&, const std::string&)> wrap{};
  std::string runtime_dir{};                           // empty: below the site's directory
  std::string log{};                                   // the file for what the suite writes; empty: below the site's directory
  bool inherit_pg = false;                             // FAULTS_PG is as url() set it in our own environment
  std::vector<std::string> before{};                   // a program that execs what follows, with its arguments
};

class Site {
 public:
  explicit Site(SiteOptions options = {});
  ~Site();

  // --- the suite
  void start_supervisor();
  [[nodiscard]] Daemon& supervisor() { return *supervisor_; }
  // Of `romancy status --json`; null when nobody answers. `config`: of another suite than this one.
  Json status(const std::string& config = {});
  Json component(const std::string& name);           // its part of status()
  pid_t pid(const std::string& name);                // of a component, "worker.1"; waits for one
  std::int64_t counter(const std::string& component, const std::string& name);
  std::int64_t restarts(const std::string& component);
  // romancy ARGUMENTS; its exit code.
  int cli(const std::string& arguments, std::string* output = nullptr, const std::string& config = {});
  // Kills it, and waits until another one is ready.
  void kill(const std::string& component, int signal = SIGKILL);
  // The same at a moment when a worker holds a probe, or the relay an event: else a row whose bound is short would find out
  // only now and then what becomes of such.
  void kill_at_work(const std::string& component);
  bool ready(const std::string& component);          // the state is ready, and it hears notifications where it should
  bool all_ready();
  [[nodiscard]] std::string log() const { return supervisor_->log(); }
  [[nodiscard]] int logged(const std::string& text) const;  // how often
  [[nodiscard]] const std::string& config() const { return config_; }
  [[nodiscard]] const std::string& toml() const { return base_toml_; }  // what the file says at first
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  [[nodiscard]] const std::string& runtime_dir() const { return runtime_dir_; }
  void write_config(const std::string& more);        // the file anew, with more at its end
  [[nodiscard]] std::map<std::string, pid_t> pids();

  // --- the server
  Server& server() { return *server_; }
  void moved_to(Server& other) { now_at_ = &other; }  // after a failover
  std::string ask(const std::string& sql);           // one value; "" when the server is away
  std::int64_t count(const std::string& sql);
  void run_sql(const std::string& sql);              // waits for the server
  std::int64_t now_us();                             // of the server's clock; this host's when it is away

  // --- load
  void start_load();
  void stop_load();                                  // and sends what ends the readers
  std::int64_t probes_done();
  void expect_progress(int probes = 20);             // waits until so many more have been completed
  // `events`: of an event of the outbox too.
  // The longest wait of a probe since, once all that have begun by now, and 20 later than since, are done.
  std::chrono::milliseconds recovered(std::int64_t since_us, bool events = false);
  void script_receiver(std::function<std::string(const HttpRequest&)> script);  // in place of 204
  [[nodiscard]] HttpServer& receiver() { return *receiver_; }
  [[nodiscard]] std::size_t deliveries() const { return receiver_->count(); }

  // --- the oracle
  void expect_drained();
  void expect_nothing_lost();
  void supervisor_may_change() { same_supervisor_ = false; }
  void clocks_lie() { timers_checked_ = false; }
  void stop_sampling() { sampler_.reset(); }
  void sample();

 private:
  struct Size {
    int descriptors = 0;
    std::int64_t resident_kb = 0;
  };
  void write_toml();
  void generate();
  std::map<std::string, Size> sizes();
  std::unique_ptr<pg::Blocking>& client();

  SiteOptions options_;
  TempDir dir_;
  std::unique_ptr<Server> server_;
  Server* now_at_ = nullptr;
  std::mutex script_mutex_;
  std::function<std::string(const HttpRequest&)> script_;
  std::set<std::string> accepted_;  // ids of events that were answered with 2xx
  std::unique_ptr<HttpServer> receiver_;
  std::string runtime_dir_, config_, base_toml_;
  std::unique_ptr<Daemon> supervisor_;
  pid_t first_supervisor_ = 0;
  bool same_supervisor_ = true, timers_checked_ = true;
  std::unique_ptr<pg::Blocking> client_;
  std::unique_ptr<InvariantSampler> sampler_;
  std::map<std::string, Size> before_;
  std::atomic<bool> load_ = false;
  std::thread generator_;
};

struct Row {
  const char* id;     // "P1"
  const char* fault;  // for the page: what is done
  std::chrono::milliseconds bound{60'000};
  std::function<void(Site&)> inject;
  std::function<void(Site&)> heal{};                // none: it heals by itself, and the time counts from the fault
  std::function<std::string(Site&)> proof;          // what happened, for the page; empty: nothing did, the row fails
  bool events = false;                              // the time is taken of events as well
  const char* bound_text = nullptr;                 // where the bound is more than a number
  SiteOptions options{};
};
void run(const Row& row);
// How long a fault lasts that lasts for a while: shortened, or as the matrix has it, where ROMANCY_FAULTS_REAL_LENGTH is set.
bool real_length();
std::chrono::seconds lasting(std::chrono::seconds shortened, std::chrono::seconds really);
// The same in pieces, for rows of another shape.
void report(const Row& row, const std::string& happened, std::optional<std::chrono::milliseconds> took);

// What the environment has to allow; a reason why it does not, or empty.
std::string why_no_namespaces();
std::string why_no_tmpfs();
std::string why_no_pids_cgroup();
std::string why_no_memory_cgroup();
std::string why_no(const std::string& program);
void report_skipped(const std::string& why);  // loudly
#define ROMANCY_NEEDS(reason)                                   \
  if (const std::string missing = (reason); !missing.empty()) { \
    report_skipped(missing);                                    \
    GTEST_SKIP() << missing;                                    \
  }

}  // namespace romancy::test
