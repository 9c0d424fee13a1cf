#include "common/proc/config_table.hpp"

#include <algorithm>
#include <type_traits>

namespace romancy::proc {
namespace {

constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr std::int64_t kLongestKept = 36500 * kDay;
constexpr int kLongestSocketPath = 107;  // sockaddr_un::sun_path without its terminating zero

bool printable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool is_conninfo(const std::string& text) { return !text.empty() && text.size() <= 4096 && printable(text); }

// As PostgreSQL writes it without quotes, and short enough for "<schema>_workflow_resumable" to be a channel (63).
bool is_schema(const std::string& text) {
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !text.empty() && text.size() <= 44 && !(text[0] >= '0' && text[0] <= '9') && text.rfind("pg_", 0) != 0 &&
         std::all_of(text.begin(), text.end(), word);
}

bool is_runtime_dir(const std::string& text) {
  return text.size() > 1 && text[0] == '/' && printable(text) &&
         text.size() + std::string_view("/control.sock").size() <= kLongestSocketPath;
}

bool is_bin_dir(const std::string& text) {
  return text.empty() || (text[0] == '/' && text.size() <= 1024 && printable(text));
}

bool is_group(const std::string& text) {
  return text.size() <= 32 && printable(text) && text.find_first_of(" :/") == std::string::npos;
}

bool is_sink(const std::string& text) {
  const auto after = [&](std::string_view scheme) {
    return text.rfind(scheme, 0) == 0 && text.size() > scheme.size();
  };
  const bool plain = printable(text) && text.find(' ') == std::string::npos && text.size() <= 2048;
  return text.empty() || (plain && (after("http://") || after("https://")));
}

bool is_resumer_name(const std::string& text) {
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= 32 && text[0] >= 'a' && text[0] <= 'z' && text != "listener" &&
         text != "timer" && text != "relay" && text != "all" && std::all_of(text.begin(), text.end(), word);
}

bool is_version(const std::string& text) { return text.size() <= 255 && printable(text); }

using S = std::string;

constexpr Readers kConsumers = kReadByTimer | kReadByRelay | kReadByResumer;

// clang-format off
const Setting kSettings[] = {
  {.section = "database", .key = "url", .member = &Config::conninfo,
   .readers = kReadByAll, .fallback = S("postgresql:///romancy"),
   .allowed = "a PostgreSQL connection string, at most 4096 bytes", .fits = is_conninfo,
   .sentence = "Where PostgreSQL is: a URI or keyword=value pairs, as psql takes them.", .secret = true},
  {.section = "database", .key = "schema", .member = &Config::schema,
   .readers = kReadByAll, .fallback = S("romancy"),
   .allowed = "1 to 44 bytes of a-z, 0-9 and _, not beginning with a digit or pg_", .fits = is_schema,
   .sentence = "The schema that holds the tables; also the prefix of the notification channels."},
  {.section = "database", .key = "connect_timeout", .member = &Config::connect_timeout,
   .readers = kReadByAll, .fallback = S("5s"),
   .lowest = 100, .highest = kHour,
   .sentence = "How long one address of a host may take to accept a connection, and how long the look-up of its name; "
               "then the next one is tried. connect_timeout in the url counts for nothing."},
  {.section = "database", .key = "migrate", .member = &Config::migrate, .readers = kSupervisor, .fallback = false,
   .sentence = "Whether the supervisor runs `romancy migrate` before it starts the others; it needs the owner's "
               "rights."},

  {.section = "runtime", .key = "dir", .member = &Config::runtime_dir,
   .readers = kNeedsRestart, .fallback = S("/run/romancy"),
   .allowed = "an absolute path of at most 94 bytes", .fits = is_runtime_dir,
   .sentence = "Where the sockets, the lock and the status board live; made with mode 0750 if it is missing."},
  {.section = "log", .key = "level", .member = &Config::log_level, .readers = kToldLive, .fallback = S("info"),
   .sentence = "The least important lines to write to standard error."},

  {.section = "listener", .key = "enabled", .member = &Config::listener,
   .readers = kReadByAll, .fallback = S("auto"),
   .sentence = "Whether to hear notifications: true and \"auto\" both trust them once one to ourselves has come back, and poll until then; false polls alone."},
  {.section = "listener", .key = "reconnect_delay", .member = &Config::reconnect_delay,
   .readers = kReadByAll, .fallback = S("100ms"),
   .lowest = 1, .highest = kHour, .sentence = "The first wait before connecting again; it doubles, with jitter."},
  {.section = "listener", .key = "reconnect_delay_max", .member = &Config::reconnect_delay_max,
   .readers = kReadByAll, .fallback = S("60s"),
   .lowest = 1, .highest = kHour, .sentence = "The longest wait before connecting again."},
  {.section = "listener", .key = "heartbeat_interval", .member = &Config::heartbeat_interval,
   .readers = kReadByListener, .fallback = S("10s"),
   .lowest = 100, .highest = kHour,
   .sentence = "How often the listener notifies itself to prove that notifications arrive."},
  {.section = "listener", .key = "heartbeat_timeout", .member = &Config::heartbeat_timeout,
   .readers = kReadByListener, .fallback = S("5s"),
   .lowest = 100, .highest = kHour,
   .sentence = "How long its own notification may take before the connection counts as lost."},
  {.section = "listener", .key = "max_subscribers", .member = &Config::max_subscribers,
   .readers = kReadByListener, .fallback = std::int64_t{64},
   .lowest = 1, .highest = 1024,
   .sentence = "How many processes may subscribe to the hub at once; one more is refused."},
  {.section = "listener", .key = "group", .member = &Config::hub_group,
   .readers = kReadByListener, .fallback = S(""),
   .allowed = "empty, or the name or the number of a group, at most 32 bytes", .fits = is_group,
   .sentence = "Whose members may subscribe to the hub too, beside its own user and root. The runtime directory and the "
               "socket are given to that group, for which the listener's user must be a member of it."},

  {.section = "poll", .key = "fallback_interval", .member = &Config::fallback_interval,
   .readers = kReadByAll, .fallback = S("30s"),
   .lowest = 10, .highest = kDay, .sentence = "How often to look at the tables while notifications work."},
  {.section = "poll", .key = "gap_spread", .member = &Config::gap_spread,
   .readers = kConsumers, .fallback = S("500ms"),
   .lowest = 0, .highest = kMinute,
   .sentence = "Over how long the looks of all processes are spread when notifications are heard again: after a restart "
               "of the database a hundred hosts hear of it in the same moment."},
  {.section = "poll", .key = "workflow_interval", .member = &Config::workflow_interval,
   .readers = kReadByResumer, .fallback = S("1s"),
   .lowest = 10, .highest = kHour,
   .sentence = "How often resumers look for workflows while notifications do not work."},
  {.section = "poll", .key = "timer_interval", .member = &Config::timer_interval,
   .readers = kReadByTimer, .fallback = S("1s"),
   .lowest = 10, .highest = kHour,
   .sentence = "How often the timer looks for due timers while notifications do not work."},
  {.section = "poll", .key = "channel_timeout_interval", .member = &Config::channel_timeout_interval,
   .readers = kReadByTimer,
   .fallback = S("5s"),
   .lowest = 10, .highest = kHour,
   .sentence = "How often the timer looks for wait time-outs while notifications do not work."},
  {.section = "poll", .key = "outbox_interval", .member = &Config::outbox_interval,
   .readers = kReadByRelay, .fallback = S("1s"),
   .lowest = 10, .highest = kHour, .sentence = "How often the relay looks for events while notifications do not work."},

  {.section = "batch", .key = "workflows", .member = &Config::max_workflows,
   .readers = kReadByResumer, .fallback = std::int64_t{100},
   .lowest = 1, .highest = 1000, .sentence = "How many workflows one claim takes at most."},
  {.section = "batch", .key = "timers", .member = &Config::max_timers,
   .readers = kReadByTimer, .fallback = std::int64_t{100},
   .lowest = 1, .highest = 10000, .sentence = "How many timers one transaction fires at most."},
  {.section = "batch", .key = "messages", .member = &Config::max_messages,
   .readers = kReadByResumer, .fallback = std::int64_t{100},
   .lowest = 10, .highest = 10000, .sentence = "How many messages of its inbox a workflow sees in one look at most."},
  {.section = "batch", .key = "outbox", .member = &Config::max_outbox,
   .readers = kReadByRelay, .fallback = std::int64_t{100},
   .lowest = 1, .highest = 1000, .sentence = "How many outbox events one claim takes at most."},

  {.section = "session", .key = "timeout", .member = &Config::session_timeout,
   .readers = kConsumers, .fallback = S("10s"),
   .lowest = kSecond, .highest = kHour,
   .sentence = "After how long without a heartbeat another process takes over a worker's workflows."},

  {.section = "worker", .key = "activity_threads", .member = &Config::activity_threads,
   .readers = kReadByResumer, .fallback = std::int64_t{8},
   .lowest = 1, .highest = 1024, .sentence = "How many activities one worker process runs at once."},
  {.section = "worker", .key = "async_activities", .member = &Config::async_activities,
   .readers = kReadByResumer, .fallback = std::int64_t{1000},
   .lowest = 1, .highest = 100000,
   .sentence = "How many asynchronous activities, which wait without a thread, one worker process runs at once."},
  {.section = "worker", .key = "max_in_flight", .member = &Config::max_in_flight,
   .readers = kReadByResumer, .fallback = std::int64_t{1000},
   .lowest = 1, .highest = 100000, .sentence = "How many workflows one worker process holds a lease on at most."},
  {.section = "worker", .key = "cache_instances", .member = &Config::cache_instances,
   .readers = kReadByResumer, .fallback = std::int64_t{10000},
   .lowest = 0, .highest = 1000000,
   .sentence = "How many suspended workflows one worker process keeps in memory; 0 replays each time."},

  {.section = "relay", .key = "enabled", .member = &Config::relay, .readers = kReadByRelay, .fallback = true,
   .sentence = "Whether the supervisor starts the relay."},
  {.section = "relay", .key = "url", .member = &Config::sink_url, .readers = kReadByRelay, .fallback = S(""),
   .allowed = "empty, or an http:// or https:// URL of at most 2048 bytes", .fits = is_sink,
   .sentence = "Where outbox events are posted as CloudEvents; empty keeps them in the outbox.", .secret = true},
  {.section = "relay", .key = "timeout", .member = &Config::delivery_timeout,
   .readers = kReadByRelay, .fallback = S("10s"),
   .lowest = 10, .highest = kHour, .sentence = "How long one delivery may take."},
  {.section = "relay", .key = "retry_delay", .member = &Config::delivery_retry,
   .readers = kReadByRelay, .fallback = S("1s"),
   .lowest = 1, .highest = kDay,
   .sentence = "The wait after the first failed delivery; it doubles with each one that follows."},
  {.section = "relay", .key = "retry_delay_max", .member = &Config::delivery_retry_max,
   .readers = kReadByRelay, .fallback = S("5m"),
   .lowest = 1, .highest = 7 * kDay, .sentence = "The longest wait between two deliveries of an event."},
  {.section = "relay", .key = "max_attempts", .member = &Config::delivery_attempts,
   .readers = kReadByRelay, .fallback = std::int64_t{0},
   .lowest = 0, .highest = 1000000,
   .sentence = "After how many failed deliveries an event counts as failed; 0 tries for ever."},
  {.section = "relay", .key = "parallel", .member = &Config::delivery_parallel,
   .readers = kReadByRelay, .fallback = std::int64_t{16},
   .lowest = 1, .highest = 256, .sentence = "How many deliveries are under way at once."},

  {.section = "retention", .key = "completed", .member = &Config::keep_completed,
   .readers = kReadByTimer, .fallback = S("30d"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long instances that have completed are kept, with all that is theirs; 0 keeps them for ever."},
  {.section = "retention", .key = "failed", .member = &Config::keep_failed,
   .readers = kReadByTimer, .fallback = S("30d"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long instances that have failed are kept; 0 keeps them for ever."},
  {.section = "retention", .key = "cancelled", .member = &Config::keep_cancelled,
   .readers = kReadByTimer, .fallback = S("30d"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long instances that were cancelled are kept; 0 keeps them for ever."},
  {.section = "retention", .key = "archive", .member = &Config::keep_archive,
   .readers = kReadByTimer, .fallback = S("30d"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long the histories of generations that continued as new are kept; 0 keeps them as long as the instance."},
  {.section = "retention", .key = "outbox_delivered", .member = &Config::keep_delivered,
   .readers = kReadByTimer, .fallback = S("7d"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long events are kept after their delivery; 0 keeps them for ever."},
  {.section = "retention", .key = "outbox_failed", .member = &Config::keep_undelivered,
   .readers = kReadByTimer, .fallback = S("0ms"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long events are kept after the relay has given them up; 0 keeps them for ever."},
  {.section = "retention", .key = "messages", .member = &Config::keep_messages,
   .readers = kReadByTimer, .fallback = S("0ms"),
   .lowest = 0, .highest = kLongestKept,
   .sentence = "How long messages of competing channels wait for a receiver; 0 lets them wait for ever."},
  {.section = "retention", .key = "interval", .member = &Config::retention_interval,
   .readers = kReadByTimer, .fallback = S("1m"),
   .lowest = 10, .highest = kDay,
   .sentence = "How often the timer removes what is due, at most; while nothing is due it does not look."},
  {.section = "retention", .key = "batch", .member = &Config::retention_batch,
   .readers = kReadByTimer, .fallback = std::int64_t{100},
   .lowest = 1, .highest = 10000,
   .sentence = "How many things one statement removes at most, with at most ten times as many rows of histories (but a "
               "thousand)."},

  {.section = "supervisor", .key = "restart_delay", .member = &Config::restart_delay,
   .readers = kSupervisor, .fallback = S("200ms"),
   .lowest = 1, .highest = kHour,
   .sentence = "The first wait before a crashed process is started again; it doubles, with jitter. The first crash "
               "of one that worked costs no wait."},
  {.section = "supervisor", .key = "restart_delay_max", .member = &Config::restart_delay_max,
   .readers = kSupervisor, .fallback = S("30s"),
   .lowest = 1, .highest = kHour,
   .sentence = "The longest wait; also the wait of a process that died 5 times within a minute."},
  {.section = "supervisor", .key = "ready_timeout", .member = &Config::ready_timeout,
   .readers = kSupervisor, .fallback = S("30s"),
   .lowest = 100, .highest = kHour,
   .sentence = "How long a process may take until it answers for the first time; then it is killed."},
  {.section = "supervisor", .key = "hang_timeout", .member = &Config::hang_timeout,
   .readers = kSupervisor, .fallback = S("15s"),
   .lowest = 2 * kSecond, .highest = kHour,
   .sentence = "How long a process may be silent (it beats once a second); then it is killed."},
  {.section = "supervisor", .key = "stop_timeout", .member = &Config::stop_timeout,
   .readers = kReadByAll, .fallback = S("20s"),
   .lowest = 100, .highest = kHour,
   .sentence = "How long a process may finish what it has in hand when it is stopped; then SIGTERM, 5 s later "
               "SIGKILL."},
  {.section = "supervisor", .key = "bin_dir", .member = &Config::bin_dir, .readers = kSupervisor, .fallback = S(""),
   .allowed = "empty or an absolute path", .fits = is_bin_dir,
   .sentence = "Where the romancy-* programs are; empty: beside the supervisor."},

  {.section = kResumerSection, .key = "name", .member = &ResumerEntry::name,
   .readers = kSupervisor, .fallback = S("worker"),
   .allowed = "1 to 32 bytes of a-z, 0-9, _ and -, beginning with a letter, none of listener, timer, relay, all",
   .fits = is_resumer_name, .sentence = "Its processes are called name.1, name.2 and so on."},
  {.section = kResumerSection, .key = "command", .member = &ResumerEntry::command,
   .readers = kSupervisor, .fallback = std::vector<S>{},
   .allowed = "an array of texts: the absolute path of the program, then its arguments",
   .sentence = "The program, linked with the SDK; it gets the configuration in ROMANCY_CONFIG."},
  {.section = kResumerSection, .key = "processes", .member = &ResumerEntry::processes,
   .readers = kSupervisor, .fallback = std::int64_t{1},
   .lowest = 1, .highest = 32, .sentence = "How many of them to run."},
  {.section = kResumerSection, .key = "version", .member = &ResumerEntry::version,
   .readers = kSupervisor, .fallback = S(""),
   .allowed = "empty or 1 to 255 bytes without control characters", .fits = is_version,
   .sentence = "The version of its code, to which the workflows it begins are pinned; empty: what the program says "
               "of itself (docs/versions.md)."},
};
// clang-format on

const Section kSections[] = {
    {"database", "The database, which is the only place where anything is kept."},
    {"runtime", "Files that live as long as the supervisor."},
    {"log", "Logging: one event, one line, key=value, to standard error."},
    {"listener", "The one connection a host listens on, and the hub that fans its hints out."},
    {"poll", "Polling: what finds work when nobody notifies."},
    {"batch", "Sizes of batches."},
    {"session", "Sessions: how a dead worker is told from a slow one."},
    {"worker", "The user's programs (resumers)."},
    {"relay", "Delivery of outbox events over HTTP."},
    {"retention", "What is over leaves, after its time; by the database's clock. The timer does it."},
    {"supervisor", "How processes are started again, and stopped."},
    {kResumerSection, "A program of yours with its workflows; may come several times."},
};

}  // namespace

std::span<const Setting> settings() { return kSettings; }
std::span<const Section> sections() { return kSections; }

std::string type_name(const Setting& setting) {
  return std::visit(
      [](auto member) -> std::string {
        using M = decltype(member);
        if constexpr (std::is_same_v<M, bool Config::*>) return "boolean";
        else if constexpr (std::is_same_v<M, int Config::*> || std::is_same_v<M, int ResumerEntry::*>) return "number";
        else if constexpr (std::is_same_v<M, std::chrono::milliseconds Config::*>) return "duration";
        else if constexpr (std::is_same_v<M, std::vector<std::string> ResumerEntry::*>) return "array of texts";
        else if constexpr (std::is_same_v<M, Listening Config::*>) return "text or boolean";
        else return "text";
      },
      setting.member);
}

std::string allowed_range(const Setting& setting) {
  return std::visit(
      [&](auto member) -> std::string {
        using M = decltype(member);
        if constexpr (std::is_same_v<M, bool Config::*>) {
          return "true or false";
        } else if constexpr (std::is_same_v<M, int Config::*> || std::is_same_v<M, int ResumerEntry::*>) {
          return std::to_string(setting.lowest) + " to " + std::to_string(setting.highest);
        } else if constexpr (std::is_same_v<M, std::chrono::milliseconds Config::*>) {
          return format_duration(std::chrono::milliseconds(setting.lowest)) + " to " +
                 format_duration(std::chrono::milliseconds(setting.highest));
        } else if constexpr (std::is_same_v<M, Listening Config::*>) {
          return "\"auto\", true or false";
        } else if constexpr (std::is_same_v<M, log::Level Config::*>) {
          return "\"debug\", \"info\", \"warn\" or \"error\"";
        } else {
          return setting.allowed;
        }
      },
      setting.member);
}

std::string show_value(const Value& value) {
  const auto quoted = [](const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  };
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) {
    std::string out = "[";
    for (const auto& one : *texts) out += (out.size() > 1 ? ", " : "") + quoted(one);
    return out + "]";
  }
  return "";
}

}  // namespace romancy::proc
