// Config: what the operator decided. One table (config.cpp) of key, type, default, range and sentence drives the
// parser, the checks, `--help`, packaging/romancy.toml and docs/configuration.md.
//
// A file is read once at start. Every wrong value is refused with the file, the key, the value and the range that
// is allowed; unknown keys are refused too (a typo must not be a silent default). Exit code 78.
// Durations are written as text: "250ms", "30s", "5m", "1h", "7d".
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/log.hpp"
#include "common/base/result.hpp"

namespace romancy::proc {

enum class Listening { automatic, on, off };

struct ResumerEntry {                // one [[resumer]] of the configuration
  std::string name = "worker";       // components are called name.1, name.2 ..
  std::vector<std::string> command;  // absolute path of the user's program, then its arguments
  int processes = 1;                 // 1 to 32
  std::string version = {};          // of the program's code, in ROMANCY_WORKER_VERSION; empty: what the program says
};

struct Config {
  using ms = std::chrono::milliseconds;
  std::string path;  // of the file; empty: all defaults

  // [database]
  std::string conninfo;           // url = "postgresql:///romancy"
  std::string schema;             // schema = "romancy", 1 to 44 bytes, [a-z_][a-z0-9_]*
  ms connect_timeout{};           // 5s
  bool migrate = false;           // migrate = false: the supervisor runs `romancy migrate` once before the children

  std::string runtime_dir;        // [runtime] dir = "/run/romancy"
  log::Level log_level = log::Level::info;  // [log] level

  // [listener]
  Listening listener = Listening::automatic;  // enabled = "auto" | true | false
  ms reconnect_delay{};           // 100ms
  ms reconnect_delay_max{};       // 60s
  ms heartbeat_interval{};        // 10s
  ms heartbeat_timeout{};         // 5s
  int max_subscribers = 0;        // 64
  std::string hub_group;          // group = "": nobody but our own user and root may subscribe

  // [poll]
  ms fallback_interval{};         // 30s: while notifications work
  ms gap_spread{};                // 500ms
  ms workflow_interval{};         // 1s: while they do not
  ms timer_interval{};            // 1s
  ms channel_timeout_interval{};  // 5s
  ms outbox_interval{};           // 1s

  // [batch]
  int max_workflows = 0;          // workflows = 100 a claim
  int max_timers = 0;             // timers = 100 a firing
  int max_messages = 0;           // messages = 100 of an inbox a look
  int max_outbox = 0;             // outbox = 100 a claim

  ms session_timeout{};           // [session] timeout = 10s

  // [worker]
  int activity_threads = 0;       // 8 a process
  int async_activities = 0;       // 1000 a process, waiting without a thread
  int max_in_flight = 0;          // 1000 instances leased a process
  int cache_instances = 0;        // 10000 suspended instances kept in memory; 0: none

  // [relay]
  bool relay = true;              // enabled
  std::string sink_url;           // url = "" : http:// or https:// ; empty: events stay in the outbox
  ms delivery_timeout{};          // timeout = 10s
  ms delivery_retry{};            // retry_delay = 1s, doubled up to
  ms delivery_retry_max{};        // retry_delay_max = 5m
  int delivery_attempts = 0;      // max_attempts = 0: for ever
  int delivery_parallel = 0;      // parallel = 16 requests at once

  // [retention]: 0 is for ever
  ms keep_completed{};            // completed = 30d
  ms keep_failed{};               // failed = 30d
  ms keep_cancelled{};            // cancelled = 30d
  ms keep_archive{};              // archive = 30d: former generations
  ms keep_delivered{};            // outbox_delivered = 7d
  ms keep_undelivered{};          // outbox_failed = 0
  ms keep_messages{};             // messages = 0: of competing channels
  ms retention_interval{};        // interval = 1m
  int retention_batch = 0;        // batch = 100 a statement

  // [supervisor]
  ms restart_delay{};             // restart_delay = 200ms
  ms restart_delay_max{};         // 30s
  ms ready_timeout{};             // 30s: a child without a sign of life by then is killed
  ms hang_timeout{};              // 15s: a child whose heartbeat stands still this long is killed
  ms stop_timeout{};              // 20s: then SIGTERM, 5 s later SIGKILL
  std::string bin_dir;            // where the romancy-* programs are; empty: beside the supervisor
  std::vector<ResumerEntry> resumers;

  [[nodiscard]] std::string hub_path() const { return runtime_dir + "/hub.sock"; }
  [[nodiscard]] std::string control_path() const { return runtime_dir + "/control.sock"; }
  [[nodiscard]] std::string board_path() const { return runtime_dir + "/board"; }
};

Config default_config();
Result<Config> load_config(const std::string& path);
Result<std::string> read_config(const std::string& path);  // the text of the file
Result<Config> parse_config(std::string_view toml, std::string_view name);
// runtime.dir of a file in which something else may be wrong; the default when it names none. An error when that value
// itself is wrong: a guess could be the directory of somebody else.
Result<std::string> runtime_dir_of(std::string_view toml, std::string_view name);

std::string config_help();      // for --help
std::string config_commented(); // packaging/romancy.toml, written by the build
std::string config_markdown();  // docs/configuration.md, checked by a test

std::optional<log::Level> parse_level(std::string_view word);  // "debug", "info", "warn", "error"
std::string_view level_word(log::Level level);

Result<std::chrono::milliseconds> parse_duration(std::string_view text);
std::string format_duration(std::chrono::milliseconds value);

}  // namespace romancy::proc
