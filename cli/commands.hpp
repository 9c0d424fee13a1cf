// commands: what `romancy` can do. Each takes its options as they were given and returns the exit code.
#pragma once
#include <optional>
#include <string>

#include "cli/context.hpp"

namespace romancy::cli {

// migrate.cpp
int migrate(const Globals& globals);

// work.cpp: what changes a workflow
struct StartOptions {
  std::string name;
  std::string input = "{}";  // JSON, @file or -
  std::optional<std::string> id, at;
  std::string queue = "default", on_finished = "return";
  int priority = 0;
  std::optional<std::string> key;
  bool json = false;
  bool wait = false;
  std::optional<double> timeout;  // seconds
};
int start(const Globals& globals, const StartOptions& options);

struct PublishOptions {
  std::string channel;
  std::string data = "{}", metadata = "{}";  // JSON, @file or -
  std::optional<std::string> to;
  bool json = false;
};
int publish(const Globals& globals, const PublishOptions& options);

struct ResultOptions {
  std::string id;
  bool json = false;
  bool wait = false;
  std::optional<double> timeout;  // seconds
};
int result(const Globals& globals, const ResultOptions& options);

int cancel(const Globals& globals, const std::string& id, const std::optional<std::string>& reason);
int resume(const Globals& globals, const std::string& id);
int remove(const Globals& globals, const std::string& id);
struct PruneOptions {
  std::string older_than;             // "7d"
  std::optional<std::string> status;  // none: every final one
  bool dry_run = false, json = false;
};
int prune(const Globals& globals, const PruneOptions& options);
int compensate(const Globals& globals, const std::string& id, bool give_up);

// look.cpp: what is there
struct ListOptions {
  std::optional<std::string> status, name, before, version;
  int limit = 50;
  bool json = false;
};
int list(const Globals& globals, const ListOptions& options);
struct ShowOptions {
  std::string id;
  bool archive = false;  // the histories of former generations too
  bool json = false;
};
int show(const Globals& globals, const ShowOptions& options);
// history.cpp: for tests that replay it
int history_export(const Globals& globals, const std::string& id);
struct ChannelsOptions {
  int limit = 1000;
  bool json = false;
};
int channels(const Globals& globals, const ChannelsOptions& options);
int statistics(const Globals& globals, bool json);

// versions.cpp: which code runs what
int versions(const Globals& globals, bool json);
int drain_version(const Globals& globals, const std::string& version);
int resume_version(const Globals& globals, const std::string& version);
int set_version(const Globals& globals, const std::string& id, const std::string& version);

// queue.cpp: how queues are served
struct QueueOptions {
  std::string name;
  std::optional<int> concurrency, key_concurrency, rate;  // none: any number
  std::string rate_period = "1 second";                    // as PostgreSQL reads it
};
int queue_set(const Globals& globals, const QueueOptions& options);
enum class QueueChange { pause, resume, remove };
int queue_change(const Globals& globals, QueueChange change, const std::string& name);
int queue_list(const Globals& globals, bool json);

// schedule.cpp: workflows that are started at times
struct ScheduleOptions {
  std::string name, workflow;
  std::optional<std::string> cron, every;  // one of them
  std::string time_zone = "UTC", input = "{}", queue = "default";
  std::string jitter = "0", overlap = "skip", catch_up = "1 hour";  // intervals as PostgreSQL reads them
};
int schedule_create(const Globals& globals, const ScheduleOptions& options);
enum class ScheduleChange { pause, resume, remove };
int schedule_change(const Globals& globals, ScheduleChange change, const std::string& name);
int schedule_trigger(const Globals& globals, const std::string& name);
int schedule_list(const Globals& globals, bool json);
struct NextOptions {
  std::string cron, time_zone = "UTC";
  std::optional<std::string> from;  // none: now
  int count = 5;
};
int schedule_next(const NextOptions& options);  // needs no database

// control.cpp: the processes; needs no database
int status(const Globals& globals, bool json);
int restart(const Globals& globals, const std::string& component);
int stop(const Globals& globals, const std::optional<std::string>& component);
int start_component(const Globals& globals, const std::string& component);
int drain(const Globals& globals, const std::string& component);
int log_level(const Globals& globals, const std::string& component, const std::string& level);
int reload(const Globals& globals, bool json);
int upgrade(const Globals& globals);

}  // namespace romancy::cli
