// romancy: the command line. This file reads the arguments (CLI11's only door); what they do is in the others.
//
// Exit codes: exit_codes.hpp. Global options may stand before or after the command.
#include <CLI/CLI.hpp>

#include <functional>
#include <tuple>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "common/base/log.hpp"

using namespace romancy;

namespace {

void add_work(CLI::App& app, const cli::Globals& globals, std::function<int()>& chosen) {
  static cli::StartOptions starting;
  auto* start = app.add_subcommand("start", "start a workflow; prints its instance id");
  start->add_option("NAME", starting.name, "the workflow's name")->required();
  start->add_option("--input", starting.input, "its input: JSON, @file, or - for standard input")
      ->capture_default_str();
  start->add_option("--id", starting.id, "its instance id; the same id twice is the same instance (default: random)");
  start->add_option("--queue", starting.queue, "the queue it is for")->capture_default_str();
  start->add_option("--priority", starting.priority, "from -4 to 4: the higher ones come first")->capture_default_str();
  start->add_option("--key", starting.key, "whose it is: of those of one priority each key has its turn");
  start->add_option("--at", starting.at, "not before this time, as PostgreSQL reads it: 2026-01-31T12:00:00Z");
  start->add_option("--on-finished", starting.on_finished, "what is to be when an instance with that id has finished")
      ->check(CLI::IsMember({"return", "refuse", "replace"}))
      ->capture_default_str();
  start->add_flag("--json", starting.json, "print JSON");
  start->add_flag("--wait", starting.wait, "wait for its end, and print its output instead of its id");
  start->add_option("--timeout", starting.timeout, "wait so many seconds at most")->check(CLI::NonNegativeNumber);
  start->callback([&] { chosen = [&] { return cli::start(globals, starting); }; });

  static cli::ResultOptions asking;
  auto* result = app.add_subcommand("result", "print the output of an instance");
  result->add_option("ID", asking.id, "the instance")->required();
  result->add_flag("--wait", asking.wait, "wait for its end");
  result->add_option("--timeout", asking.timeout, "wait so many seconds at most")->check(CLI::NonNegativeNumber);
  result->add_flag("--json", asking.json, "print JSON");
  result->callback([&] { chosen = [&] { return cli::result(globals, asking); }; });

  static cli::PublishOptions publishing;
  auto* publish = app.add_subcommand("publish", "publish a message; prints its id");
  publish->add_option("CHANNEL", publishing.channel, "the channel")->required();
  publish->add_option("--data", publishing.data, "the message: JSON, @file, or - for standard input")
      ->capture_default_str();
  publish->add_option("--to", publishing.to, "to this instance only (default: to all subscribers)");
  publish->add_option("--metadata", publishing.metadata, "JSON, @file, or -")->capture_default_str();
  publish->add_flag("--json", publishing.json, "print JSON");
  publish->callback([&] { chosen = [&] { return cli::publish(globals, publishing); }; });

  static std::string cancel_id, resume_id;
  static std::optional<std::string> reason;
  auto* cancel = app.add_subcommand("cancel", "ask an instance to cancel; it compensates, then ends");
  cancel->add_option("ID", cancel_id, "the instance")->required();
  cancel->add_option("--reason", reason, "why; the workflow sees it");
  cancel->callback([&] { chosen = [&] { return cli::cancel(globals, cancel_id, reason); }; });

  auto* resume = app.add_subcommand("resume", "let an instance go on that was parked as stuck");
  resume->add_option("ID", resume_id, "the instance")->required();
  resume->callback([&] { chosen = [&] { return cli::resume(globals, resume_id); }; });

  static std::string remove_id;
  auto* remove = app.add_subcommand("remove", "remove an instance that has finished, with all that is its own");
  remove->add_option("ID", remove_id, "the instance")->required();
  remove->callback([&] { chosen = [&] { return cli::remove(globals, remove_id); }; });

  static cli::PruneOptions pruning;
  auto* prune = app.add_subcommand("prune", "remove instances that finished long ago; prints how many");
  prune->add_option("--older-than", pruning.older_than, "that ended longer ago than this: 12h, 7d")->required();
  prune->add_option("--status", pruning.status, "only these")->check(CLI::IsMember({"completed", "failed", "cancelled"}));
  prune->add_flag("--dry-run", pruning.dry_run, "only count them");
  prune->add_flag("--json", pruning.json, "print JSON");
  prune->callback([&] { chosen = [&] { return cli::prune(globals, pruning); }; });

  static std::string compensate_id;
  static bool give_up = false;
  auto* compensate = app.add_subcommand("compensate", "run the failed compensations of an instance again");
  compensate->add_option("ID", compensate_id, "the instance")->required();
  compensate->add_flag("--give-up", give_up, "leave them undone instead, and let the instance end");
  compensate->callback([&] { chosen = [&] { return cli::compensate(globals, compensate_id, give_up); }; });
}

void add_look(CLI::App& app, const cli::Globals& globals, std::function<int()>& chosen) {
  static cli::ListOptions listing;
  auto* list = app.add_subcommand("list", "list instances, newest first");
  list->add_option("--status", listing.status, "only these")
      ->check(CLI::IsMember({"running", "completed", "failed", "cancelled", "stuck", "compensating"}));
  list->add_option("--name", listing.name, "only this workflow");
  list->add_option("--version", listing.version, "only what is pinned to this version");
  list->add_option("--limit", listing.limit, "at most so many")->check(CLI::Range(1, 100000))->capture_default_str();
  list->add_option("--before", listing.before, "the next page: only those that come after this instance in the list");
  list->add_flag("--json", listing.json, "print JSON");
  list->callback([&] { chosen = [&] { return cli::list(globals, listing); }; });

  static bool statistics_json = false;
  auto* statistics = app.add_subcommand("statistics", "how many instances of each workflow, and queued activities, there are");
  statistics->add_flag("--json", statistics_json, "print JSON");
  statistics->callback([&] { chosen = [&] { return cli::statistics(globals, statistics_json); }; });

  static cli::ShowOptions showing;
  auto* show = app.add_subcommand("show", "show an instance: why it is where it is, its timers, its history");
  show->add_option("ID", showing.id, "the instance")->required();
  show->add_flag("--archive", showing.archive, "also the histories of generations that continued as new");
  show->add_flag("--json", showing.json, "print JSON");
  show->callback([&] { chosen = [&] { return cli::show(globals, showing); }; });

  static std::string exported;
  auto* history = app.add_subcommand("history", "recorded histories");
  history->require_subcommand(1);
  auto* exporting = history->add_subcommand("export", "print the history of an instance as JSON, for tests that replay it");
  exporting->add_option("ID", exported, "the instance")->required();
  exporting->callback([&] { chosen = [&] { return cli::history_export(globals, exported); }; });

  static cli::ChannelsOptions channel_listing;
  auto* channels = app.add_subcommand("channels", "list channels: mode, subscribers, who waits, what is queued");
  channels->add_option("--limit", channel_listing.limit, "at most so many")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  channels->add_flag("--json", channel_listing.json, "print JSON");
  channels->callback([&] { chosen = [&] { return cli::channels(globals, channel_listing); }; });
}

void add_versions(CLI::App& app, const cli::Globals& globals, std::function<int()>& chosen) {
  static bool json = false;
  auto* versions = app.add_subcommand("versions", "list versions: their workers, the instances pinned to them, which drain");
  versions->add_flag("--json", json, "print JSON");
  versions->callback([&] { chosen = [&] { return cli::versions(globals, json); }; });

  static std::string version, id;
  auto* drain = app.add_subcommand("drain-version", "workers of a version take nothing new, and go on with what is pinned to it");
  drain->add_option("VERSION", version, "as the workers have it")->required();
  drain->callback([&] { chosen = [&] { return cli::drain_version(globals, version); }; });

  auto* resume = app.add_subcommand("resume-version", "workers of a version that drains take new instances again");
  resume->add_option("VERSION", version, "as the workers have it")->required();
  resume->callback([&] { chosen = [&] { return cli::resume_version(globals, version); }; });

  auto* set = app.add_subcommand("set-version", "pin an instance to another version");
  set->add_option("ID", id, "the instance")->required();
  set->add_option("VERSION", version, "the version whose workers go on with it")->required();
  set->callback([&] { chosen = [&] { return cli::set_version(globals, id, version); }; });
}

void add_schedule(CLI::App& app, const cli::Globals& globals, std::function<int()>& chosen) {
  auto* schedule = app.add_subcommand("schedule", "workflows that are started at times");
  schedule->require_subcommand(1);

  static cli::ScheduleOptions making;
  auto* create = schedule->add_subcommand("create", "make a schedule, or replace the one of that name");
  create->add_option("NAME", making.name, "the schedule's name")->required();
  create->add_option("WORKFLOW", making.workflow, "the workflow it starts")->required();
  create->add_option("--cron", making.cron, "minute hour day-of-month month day-of-week, or @daily and the like");
  create->add_option("--every", making.every, "an interval as PostgreSQL reads it, in place of --cron: '15 minutes'");
  create->add_option("--time-zone", making.time_zone, "in which the cron is meant: Europe/Berlin")->capture_default_str();
  create->add_option("--input", making.input, "the workflow's input: JSON, @file, or - for standard input")
      ->capture_default_str();
  create->add_option("--queue", making.queue, "the queue it is for")->capture_default_str();
  create->add_option("--jitter", making.jitter, "each tick is later by up to this")->capture_default_str();
  create->add_option("--overlap", making.overlap, "what a tick does while the instance of the last one is active")
      ->check(CLI::IsMember({"skip", "allow", "cancel_other", "queue_one"}))
      ->capture_default_str();
  create->add_option("--catch-up", making.catch_up, "a tick that is later than this is missed")->capture_default_str();
  create->callback([&] { chosen = [&] { return cli::schedule_create(globals, making); }; });

  static bool json = false;
  auto* list = schedule->add_subcommand("list", "list schedules: what they start, the next tick, what came of the last");
  list->add_flag("--json", json, "print JSON");
  list->callback([&] { chosen = [&] { return cli::schedule_list(globals, json); }; });

  static std::string name;
  using Change = cli::ScheduleChange;
  for (const auto& [change, word, what] : {std::tuple(Change::pause, "pause", "no ticks until it is resumed"),
                                           std::tuple(Change::resume, "resume", "go on, from now"),
                                           std::tuple(Change::remove, "remove", "remove it; what it started goes on")}) {
    auto* command = schedule->add_subcommand(word, what);
    command->add_option("NAME", name, "the schedule")->required();
    command->callback([&, change = change] { chosen = [&, change] { return cli::schedule_change(globals, change, name); }; });
  }
  auto* trigger = schedule->add_subcommand("trigger", "start its workflow now; prints the instance id");
  trigger->add_option("NAME", name, "the schedule")->required();
  trigger->callback([&] { chosen = [&] { return cli::schedule_trigger(globals, name); }; });

  static cli::NextOptions looking;
  auto* next = schedule->add_subcommand("next", "print the next ticks of a cron; needs no database");
  next->add_option("CRON", looking.cron, "in one word: '0 3 * * mon-fri'")->required();
  next->add_option("--time-zone", looking.time_zone, "in which it is meant")->capture_default_str();
  next->add_option("--count", looking.count, "so many")->check(CLI::Range(1, 100000))->capture_default_str();
  next->add_option("--from", looking.from, "after this moment: 2026-01-31T12:00:00Z (default: now)");
  next->callback([&] { chosen = [&] { return cli::schedule_next(looking); }; });
}

void add_queue(CLI::App& app, const cli::Globals& globals, std::function<int()>& chosen) {
  auto* queue = app.add_subcommand("queue", "how queues are served");
  queue->require_subcommand(1);

  static bool json = false;
  auto* list = queue->add_subcommand("list", "list queues: what waits, what runs, how much is allowed");
  list->add_flag("--json", json, "print JSON");
  list->callback([&] { chosen = [&] { return cli::queue_list(globals, json); }; });

  static cli::QueueOptions setting;
  auto* set = queue->add_subcommand("set", "set its limits; those that are not given are none");
  set->add_option("NAME", setting.name, "the queue")->required();
  set->add_option("--concurrency", setting.concurrency, "so many instances run at once at most");
  set->add_option("--key-concurrency", setting.key_concurrency, "so many of each key");
  set->add_option("--rate", setting.rate, "so many begin in each period at most");
  set->add_option("--rate-period", setting.rate_period, "the period, an interval as PostgreSQL reads it")->capture_default_str();
  set->callback([&] { chosen = [&] { return cli::queue_set(globals, setting); }; });

  static std::string name;
  using Change = cli::QueueChange;
  for (const auto& [change, word, what] : {std::tuple(Change::pause, "pause", "nothing of it begins, or goes on"),
                                           std::tuple(Change::resume, "resume", "serve it again"),
                                           std::tuple(Change::remove, "remove", "forget what was set; its instances stay")}) {
    auto* command = queue->add_subcommand(word, what);
    command->add_option("NAME", name, "the queue")->required();
    command->callback([&, change = change] { chosen = [&, change] { return cli::queue_change(globals, change, name); }; });
  }
}

void add_control(CLI::App& app, const cli::Globals& globals, std::function<int()>& chosen) {
  static bool json = false;
  auto* status = app.add_subcommand("status", "show the components, their states and counters");
  status->add_flag("--json", json, "print JSON");
  status->callback([&] { chosen = [&] { return cli::status(globals, json); }; });

  static std::string restarted, started;
  static std::optional<std::string> stopped;
  auto* restart = app.add_subcommand("restart", "restart a component; 'all' for all of them");
  restart->add_option("COMPONENT", restarted, "as 'romancy status' calls it")->required();
  restart->callback([&] { chosen = [&] { return cli::restart(globals, restarted); }; });

  auto* stop = app.add_subcommand("stop", "stop a component, or everything");
  stop->add_option("COMPONENT", stopped, "as 'romancy status' calls it (default: everything)");
  stop->callback([&] { chosen = [&] { return cli::stop(globals, stopped); }; });

  auto* start = app.add_subcommand("start-component", "start a component that was stopped or is held");
  start->add_option("COMPONENT", started, "as 'romancy status' calls it")->required();
  start->callback([&] { chosen = [&] { return cli::start_component(globals, started); }; });

  static std::string drained, leveled, level;
  auto* drain = app.add_subcommand("drain", "stop a component once it has finished what it has in hand, however long that takes");
  drain->add_option("COMPONENT", drained, "as 'romancy status' calls it")->required();
  drain->callback([&] { chosen = [&] { return cli::drain(globals, drained); }; });

  auto* log_level = app.add_subcommand("log-level", "change what a component logs, until 'default' is said");
  log_level->add_option("COMPONENT", leveled, "as 'romancy status' calls it, 'supervisor', or 'all'")->required();
  log_level->add_option("LEVEL", level, "debug, info, warn, error, or default: as configured")
      ->required()
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "default"}));
  log_level->callback([&] { chosen = [&] { return cli::log_level(globals, leveled, level); }; });

  static bool reload_json = false;
  auto* reload = app.add_subcommand("reload", "read the configuration anew; a wrong one changes nothing");
  reload->add_flag("--json", reload_json, "print JSON");
  reload->callback([&] { chosen = [&] { return cli::reload(globals, reload_json); }; });

  auto* upgrade = app.add_subcommand("upgrade", "put the programs that are installed now in the place of those that run");
  upgrade->callback([&] { chosen = [&] { return cli::upgrade(globals); }; });
}

}  // namespace

int main(int argc, char** argv) {
  log::set_up("romancy", log::Level::warn);
  cli::Globals globals;
  std::function<int()> chosen;

  CLI::App app("romancy: durable workflows on PostgreSQL", "romancy");
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "romancy " ROMANCY_VERSION);
  app.add_option("--config", globals.config_path, "the configuration (without it, the defaults)")
      ->envname("ROMANCY_CONFIG");
  app.add_option("--database", globals.database, "conninfo or URI, in place of database.url");
  app.add_option("--schema", globals.schema, "in place of database.schema");
  app.add_option("--runtime-dir", globals.runtime_dir,
                 "where the supervisor is, in place of runtime.dir; the configuration is not read for that")
      ->envname("ROMANCY_RUNTIME_DIR");
  auto* migrate = app.add_subcommand("migrate", "bring the schema to the version of this program");
  migrate->callback([&] { chosen = [&] { return cli::migrate(globals); }; });
  add_work(app, globals, chosen);
  add_look(app, globals, chosen);
  add_versions(app, globals, chosen);
  add_schedule(app, globals, chosen);
  add_queue(app, globals, chosen);
  add_control(app, globals, chosen);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 would only say that a command is missing.
    const auto unknown = app.get_subcommands().empty() ? app.remaining() : std::vector<std::string>();
    if (!unknown.empty())
      return cli::fail(unknown.front(), cli::kExitUsage, "unknown command or option; --help shows what there is");
    return app.exit(error) == 0 ? cli::kExitOk : cli::kExitUsage;  // 0: --help, --version
  }
  return chosen();
}
