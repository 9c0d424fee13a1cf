// romancy list and show: what the views say, for people or for programs.
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
  Table table({"INSTANCE", "WORKFLOW", "QUEUE", "STATUS", "WORKER", "CREATED", "FINISHED", "NOTE"});
  for (int i = 0; i < rows.size(); ++i) {
    table.add({rows.str(i, 0), rows.str(i, 1), rows.str(i, 2), rows.str(i, 3), maybe(rows, i, 4).value_or("-"),
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
  pg::Rows instance, timers, history;
  std::string why;
};

Result<Shown> read(pg::Blocking& db, const std::string& id) {
  auto instance = db.query(sql::cli::show_instance, pg::Params(id));
  if (!instance) return tl::unexpected(std::move(instance.error()).within("show"));
  if (instance->empty()) return refuse("ID: there is no instance " + id);
  auto timers = db.query(sql::cli::show_timers, pg::Params(id));
  if (!timers) return tl::unexpected(std::move(timers.error()).within("show"));
  auto history = db.query(sql::cli::show_history, pg::Params(id));
  if (!history) return tl::unexpected(std::move(history.error()).within("show"));

  const Instance facts{.instance_id = id,
                       .workflow_name = instance->str(0, 1),
                       .queue = instance->str(0, 2),
                       .status = instance->str(0, 3),
                       .worker = maybe(*instance, 0, 8),
                       .note = maybe(*instance, 0, 7),
                       .served = instance->boolean(0, 11)};
  std::vector<PendingTimer> pending;
  for (int i = 0; i < timers->size(); ++i) pending.push_back({timers->str(i, 1), timers->str(i, 2)});
  std::vector<Step> steps;
  for (int i = 0; i < history->size(); ++i) {
    steps.push_back({history->int32(i, 1), history->str(i, 2), maybe(*history, i, 3).value_or("")});
  }
  std::string why = explain(facts, pending, steps);
  return Shown{std::move(*instance), std::move(*timers), std::move(*history), std::move(why)};
}

void print_show(const Shown& shown) {
  const pg::Rows& row = shown.instance;
  const std::pair<const char*, std::optional<std::string>> fields[] = {
      {"instance", maybe(row, 0, 0)},
      {"workflow", maybe(row, 0, 1)},
      {"queue", maybe(row, 0, 2)},
      {"status", maybe(row, 0, 3)},
      {"why", shown.why},
      {"created", maybe(row, 0, 9)},
      {"finished", maybe(row, 0, 10)},
      {"worker", maybe(row, 0, 8)},
      {"note", maybe(row, 0, 7)},
      {"served", row.boolean(0, 11) ? "yes" : "no: no living worker serves this workflow"},
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
  if (!shown.history.empty()) {
    Table history({"SEQ", "OP", "KIND", "NAME", "AT", "DATA"});
    for (int i = 0; i < shown.history.size(); ++i) {
      history.add({shown.history.str(i, 0), shown.history.str(i, 1), shown.history.str(i, 2),
                   maybe(shown.history, i, 3).value_or(""), shown.history.str(i, 5),
                   shorten(maybe(shown.history, i, 4).value_or(""), 100)});
    }
    std::printf("\n%s", history.text().c_str());
  }
}

void print_show_json(const Shown& shown) {
  std::vector<std::string> timers, history;
  for (int i = 0; i < shown.timers.size(); ++i) {
    timers.push_back(JsonObject()
                         .text("timer_id", shown.timers.str(i, 0))
                         .text("kind", shown.timers.str(i, 1))
                         .text("expires_at", shown.timers.str(i, 2))
                         .str());
  }
  for (int i = 0; i < shown.history.size(); ++i) {
    history.push_back(JsonObject()
                          .number("seq", shown.history.int64(i, 0))
                          .number("op", shown.history.int64(i, 1))
                          .text("kind", shown.history.str(i, 2))
                          .text("name", maybe(shown.history, i, 3))
                          .raw("data", maybe(shown.history, i, 4))
                          .text("created_at", shown.history.str(i, 5))
                          .str());
  }
  const pg::Rows& row = shown.instance;
  std::printf("%s\n", JsonObject()
                          .text("instance_id", row.str(0, 0))
                          .text("workflow_name", row.str(0, 1))
                          .text("queue", row.str(0, 2))
                          .text("status", row.str(0, 3))
                          .text("why", shown.why)
                          .raw("input", maybe(row, 0, 4))
                          .raw("output", maybe(row, 0, 5))
                          .raw("error", maybe(row, 0, 6))
                          .text("note", maybe(row, 0, 7))
                          .text("worker", maybe(row, 0, 8))
                          .boolean("served", row.boolean(0, 11))
                          .text("created_at", row.str(0, 9))
                          .text("finished_at", maybe(row, 0, 10))
                          .raw("timers", json_array(timers))
                          .raw("history", json_array(history))
                          .str()
                          .c_str());
}

}  // namespace

int list(const Globals& globals, const ListOptions& options) {
  return with_database("list", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::list_instances, pg::Params(options.status, options.name, options.limit));
    if (!rows) return tl::unexpected(Error(rows.error()).within("list"));
    if (options.json) print_list_json(*rows);
    else print_list(*rows);
    return kExitOk;
  });
}

int show(const Globals& globals, const std::string& id, bool json) {
  return with_database("show", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto shown = read(db, id);
    if (!shown) return tl::unexpected(shown.error());
    if (json) print_show_json(*shown);
    else print_show(*shown);
    return kExitOk;
  });
}

}  // namespace romancy::cli
