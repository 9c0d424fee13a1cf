// romancy list, show and channels: what the views say, for people or for programs.
#include <cstdio>
#include <utility>
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/explain.hpp"
#include "cli/text.hpp"
#include "sql/cli.hpp"

namespace romancy::cli {
namespace {

std::optional<std::string> maybe(const pg::Rows& rows, int row, int column) {
  return rows.is_null(row, column) ? std::nullopt : std::optional(rows.str(row, column));
}

void print_list(const pg::Rows& rows) {
  Table table({"INSTANCE", "WORKFLOW", "QUEUE", "VERSION", "STATUS", "WORKER", "CREATED", "FINISHED", "NOTE"});
  for (int i = 0; i < rows.size(); ++i) {
    table.add({rows.str(i, 0), rows.str(i, 1), rows.str(i, 2), maybe(rows, i, 8).value_or("-"), rows.str(i, 3), maybe(rows, i, 4).value_or("-"),
               rows.str(i, 5), maybe(rows, i, 6).value_or("-"), shorten(maybe(rows, i, 7).value_or(""), 60)});
  }
  std::printf("%s", table.text().c_str());
}

void print_list_json(const pg::Rows& rows) {
  std::vector<std::string> instances;
  for (int i = 0; i < rows.size(); ++i) {
    instances.push_back(JsonObject()
                            .text("instance_id", rows.str(i, 0))
                            .text("workflow_name", rows.str(i, 1))
                            .text("queue", rows.str(i, 2))
                            .text("version", maybe(rows, i, 8))
                            .text("status", rows.str(i, 3))
                            .text("worker", maybe(rows, i, 4))
                            .text("created_at", rows.str(i, 5))
                            .text("finished_at", maybe(rows, i, 6))
                            .text("note", maybe(rows, i, 7))
                            .str());
  }
  std::printf("%s\n", json_array(instances).c_str());
}

struct Shown {
  pg::Rows instance, timers, tasks, history;
  std::optional<pg::Rows> archive;  // when it was asked for
  std::string why;
};

Result<Shown> read(pg::Blocking& db, const std::string& id, bool with_archive) {
  auto instance = db.query(sql::cli::show_instance, pg::Params(id));
  if (!instance) return tl::unexpected(std::move(instance.error()).within("show"));
  if (instance->empty()) return refuse("ID: there is no instance " + id);
  auto timers = db.query(sql::cli::show_timers, pg::Params(id));
  if (!timers) return tl::unexpected(std::move(timers.error()).within("show"));
  auto tasks = db.query(sql::cli::show_tasks, pg::Params(id));
  if (!tasks) return tl::unexpected(std::move(tasks.error()).within("show"));
  auto history = db.query(sql::cli::show_history, pg::Params(id));
  if (!history) return tl::unexpected(std::move(history.error()).within("show"));
  std::optional<pg::Rows> archive;
  if (with_archive) {
    auto rows = db.query(sql::cli::show_archive, pg::Params(id));
    if (!rows) return tl::unexpected(std::move(rows.error()).within("show"));
    archive = std::move(*rows);
  }

  const Instance facts{.instance_id = id,
                       .workflow_name = instance->str(0, 1),
                       .queue = instance->str(0, 2),
                       .status = instance->str(0, 3),
                       .worker = maybe(*instance, 0, 8),
                       .note = maybe(*instance, 0, 7),
                       .served = instance->boolean(0, 11),
                       .version = maybe(*instance, 0, 14),
                       .draining = instance->boolean(0, 15)};
  std::vector<PendingTimer> pending;
  for (int i = 0; i < timers->size(); ++i) pending.push_back({timers->str(i, 1), timers->str(i, 2)});
  std::vector<Step> steps;
  for (int i = 0; i < history->size(); ++i) {
    steps.push_back({history->int32(i, 1), history->str(i, 2), maybe(*history, i, 3).value_or("")});
  }
  std::vector<PendingTask> queued;
  for (int i = 0; i < tasks->size(); ++i) {
    queued.push_back({tasks->str(i, 0), tasks->str(i, 1), tasks->str(i, 2), tasks->int32(i, 3), maybe(*tasks, i, 4)});
  }
  std::string why = explain(facts, pending, steps, queued);
  return Shown{std::move(*instance), std::move(*timers), std::move(*tasks), std::move(*history), std::move(archive), std::move(why)};
}

// The rows of workflow_history, from column `first` on: seq, op, kind, name, data, created_at.
std::vector<std::string> history_cells(const pg::Rows& rows, int row, int first) {
  return {rows.str(row, first), rows.str(row, first + 1), rows.str(row, first + 2),
          maybe(rows, row, first + 3).value_or(""), rows.str(row, first + 5),
          shorten(maybe(rows, row, first + 4).value_or(""), 100)};
}

JsonObject& history_fields(JsonObject& object, const pg::Rows& rows, int row, int first) {
  return object.number("seq", rows.int64(row, first))
      .number("op", rows.int64(row, first + 1))
      .text("kind", rows.str(row, first + 2))
      .text("name", maybe(rows, row, first + 3))
      .raw("data", maybe(rows, row, first + 4))
      .text("created_at", rows.str(row, first + 5));
}

void print_show(const Shown& shown) {
  const pg::Rows& row = shown.instance;
  const std::pair<const char*, std::optional<std::string>> fields[] = {
      {"instance", maybe(row, 0, 0)},
      {"workflow", maybe(row, 0, 1)},
      {"queue", maybe(row, 0, 2)},
      {"version", maybe(row, 0, 14)},
      {"status", maybe(row, 0, 3)},
      {"generation", row.int32(0, 12) == 0 ? std::nullopt : maybe(row, 0, 12)},
      {"why", shown.why},
      {"created", maybe(row, 0, 9)},
      {"finished", maybe(row, 0, 10)},
      {"worker", maybe(row, 0, 8)},
      {"note", maybe(row, 0, 7)},
      {"served", row.boolean(0, 11) ? "yes" : "no: no living worker serves this workflow" + (row.is_null(0, 14) ? std::string() : " at version " + row.str(0, 14))},
      {"progress", maybe(row, 0, 13)},
      {"input", maybe(row, 0, 4)},
      {"output", maybe(row, 0, 5)},
      {"error", maybe(row, 0, 6)}};
  Table facts;
  for (const auto& [name, value] : fields) {
    if (value) facts.add({name, *value});
  }
  std::printf("%s", facts.text().c_str());

  if (!shown.timers.empty()) {
    Table timers({"TIMER", "KIND", "EXPIRES"});
    for (int i = 0; i < shown.timers.size(); ++i) {
      timers.add({shown.timers.str(i, 0), shown.timers.str(i, 1), shown.timers.str(i, 2)});
    }
    std::printf("\n%s", timers.text().c_str());
  }
  if (!shown.tasks.empty()) {
    Table tasks({"ACTIVITY", "QUEUE", "STATUS", "ATTEMPT", "WORKER", "DUE", "DETAILS", "LAST ERROR"});
    for (int i = 0; i < shown.tasks.size(); ++i) {
      tasks.add({shown.tasks.str(i, 0), shown.tasks.str(i, 1), shown.tasks.str(i, 2), shown.tasks.str(i, 3),
                 maybe(shown.tasks, i, 4).value_or("-"), shown.tasks.str(i, 5), shorten(maybe(shown.tasks, i, 6).value_or("-"), 60),
                 shorten(maybe(shown.tasks, i, 7).value_or("-"), 60)});
    }
    std::printf("\n%s", tasks.text().c_str());
  }
  if (!shown.history.empty()) {
    Table history({"SEQ", "OP", "KIND", "NAME", "AT", "DATA"});
    for (int i = 0; i < shown.history.size(); ++i) history.add(history_cells(shown.history, i, 0));
    std::printf("\n%s", history.text().c_str());
  }
  if (shown.archive && !shown.archive->empty()) {
    Table archive({"GENERATION", "SEQ", "OP", "KIND", "NAME", "AT", "DATA"});
    for (int i = 0; i < shown.archive->size(); ++i) {
      auto cells = history_cells(*shown.archive, i, 1);
      cells.insert(cells.begin(), shown.archive->str(i, 0));
      archive.add(std::move(cells));
    }
    std::printf("\n%s", archive.text().c_str());
  }
}

void print_show_json(const Shown& shown) {
  std::vector<std::string> timers, tasks, history, archive;
  for (int i = 0; i < shown.tasks.size(); ++i) {
    tasks.push_back(JsonObject()
                        .number("op", shown.tasks.int64(i, 8))
                        .text("activity", shown.tasks.str(i, 0))
                        .text("queue", shown.tasks.str(i, 1))
                        .text("status", shown.tasks.str(i, 2))
                        .number("attempt", shown.tasks.int64(i, 3))
                        .text("worker", maybe(shown.tasks, i, 4))
                        .text("due_at", shown.tasks.str(i, 5))
                        .raw("details", maybe(shown.tasks, i, 6))
                        .raw("last_error", maybe(shown.tasks, i, 7))
                        .str());
  }
  for (int i = 0; i < shown.timers.size(); ++i) {
    timers.push_back(JsonObject()
                         .text("timer_id", shown.timers.str(i, 0))
                         .text("kind", shown.timers.str(i, 1))
                         .text("expires_at", shown.timers.str(i, 2))
                         .str());
  }
  for (int i = 0; i < shown.history.size(); ++i) {
    JsonObject object;
    history.push_back(history_fields(object, shown.history, i, 0).str());
  }
  for (int i = 0; shown.archive && i < shown.archive->size(); ++i) {
    JsonObject object;
    object.number("generation", shown.archive->int64(i, 0));
    archive.push_back(history_fields(object, *shown.archive, i, 1).str());
  }
  const pg::Rows& row = shown.instance;
  JsonObject object;
  object.text("instance_id", row.str(0, 0))
      .text("workflow_name", row.str(0, 1))
      .text("queue", row.str(0, 2))
      .text("version", maybe(row, 0, 14))
      .text("status", row.str(0, 3))
      .number("generation", row.int64(0, 12))
      .text("why", shown.why)
      .raw("progress", maybe(row, 0, 13))
      .raw("input", maybe(row, 0, 4))
      .raw("output", maybe(row, 0, 5))
      .raw("error", maybe(row, 0, 6))
      .text("note", maybe(row, 0, 7))
      .text("worker", maybe(row, 0, 8))
      .boolean("served", row.boolean(0, 11))
      .text("created_at", row.str(0, 9))
      .text("finished_at", maybe(row, 0, 10))
      .raw("timers", json_array(timers))
      .raw("activity_tasks", json_array(tasks))
      .raw("history", json_array(history));
  if (shown.archive) object.raw("archive", json_array(archive));
  std::printf("%s\n", object.str().c_str());
}

void print_channels(const pg::Rows& rows) {
  Table table({"CHANNEL", "MODE", "SUBSCRIBERS", "WAITING", "QUEUED"});
  for (int i = 0; i < rows.size(); ++i) {
    table.add({rows.str(i, 0), rows.str(i, 1), rows.str(i, 2), rows.str(i, 3), rows.str(i, 4)});
  }
  std::printf("%s", table.text().c_str());
}

void print_channels_json(const pg::Rows& rows) {
  std::vector<std::string> channels;
  for (int i = 0; i < rows.size(); ++i) {
    channels.push_back(JsonObject()
                           .text("channel", rows.str(i, 0))
                           .text("mode", rows.str(i, 1))
                           .number("subscribers", rows.int64(i, 2))
                           .number("waiting", rows.int64(i, 3))
                           .number("queued", rows.int64(i, 4))
                           .str());
  }
  std::printf("%s\n", json_array(channels).c_str());
}

// The columns after the first two are numbers.
const std::vector<std::string> kOfWorkflows{"queue", "workflow_name", "active", "held",   "ready",
                                            "waiting", "stuck",       "completed", "failed", "cancelled"};
const std::vector<std::string> kOfActivities{"queue", "activity", "waiting", "held"};

void print_numbers(std::vector<std::string> heads, const pg::Rows& rows) {
  for (std::string& head : heads) {
    for (char& c : head) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  Table table(heads);
  for (int i = 0; i < rows.size(); ++i) {
    std::vector<std::string> line;
    for (int column = 0; column < static_cast<int>(heads.size()); ++column) line.push_back(rows.str(i, column));
    table.add(std::move(line));
  }
  std::printf("%s", table.text().c_str());
}

std::string numbers_json(const std::vector<std::string>& names, const pg::Rows& rows) {
  std::vector<std::string> objects;
  for (int i = 0; i < rows.size(); ++i) {
    JsonObject object;
    for (int column = 0; column < static_cast<int>(names.size()); ++column) {
      if (column < 2) object.text(names[column], rows.str(i, column));
      else object.number(names[column], rows.int64(i, column));
    }
    objects.push_back(object.str());
  }
  return json_array(objects);
}

}  // namespace

int list(const Globals& globals, const ListOptions& options) {
  return with_database("list", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::list_instances,
                               pg::Params(options.status, options.name, options.limit, options.before, options.version));
    if (!rows) return tl::unexpected(Error(rows.error()).within("list"));
    if (rows->empty() && options.before) {
      const auto there = db.query(sql::cli::show_instance, pg::Params(*options.before));
      if (!there) return tl::unexpected(Error(there.error()).within("list"));
      if (there->empty()) return refuse("--before: there is no instance " + *options.before);
    }
    if (options.json) print_list_json(*rows);
    else print_list(*rows);
    return kExitOk;
  });
}

int show(const Globals& globals, const ShowOptions& options) {
  return with_database("show", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto shown = read(db, options.id, options.archive);
    if (!shown) return tl::unexpected(shown.error());
    if (options.json) print_show_json(*shown);
    else print_show(*shown);
    return kExitOk;
  });
}

int channels(const Globals& globals, const ChannelsOptions& options) {
  return with_database("channels", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::list_channels, pg::Params(options.limit));
    if (!rows) return tl::unexpected(Error(rows.error()).within("channels"));
    if (options.json) print_channels_json(*rows);
    else print_channels(*rows);
    return kExitOk;
  });
}

int statistics(const Globals& globals, bool json) {
  return with_database("statistics", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto workflows = db.query(sql::cli::workflow_statistics, {});
    if (!workflows) return tl::unexpected(Error(workflows.error()).within("statistics"));
    const auto activities = db.query(sql::cli::activity_statistics, {});
    if (!activities) return tl::unexpected(Error(activities.error()).within("statistics"));
    if (json) {
      std::printf("%s\n", JsonObject()
                              .raw("workflows", numbers_json(kOfWorkflows, *workflows))
                              .raw("activities", numbers_json(kOfActivities, *activities))
                              .str()
                              .c_str());
      return kExitOk;
    }
    print_numbers(kOfWorkflows, *workflows);
    if (!activities->empty()) {
      std::printf("\n");
      print_numbers(kOfActivities, *activities);
    }
    return kExitOk;
  });
}

}  // namespace romancy::cli
