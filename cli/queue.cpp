// romancy queue: the functions any SQL client may call, and the list.
#include <cstdio>
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/text.hpp"
#include "sql/cli.hpp"

namespace romancy::cli {
namespace {

const std::string kCommand = "queue";

std::string limit(const pg::Rows& rows, int row, int column) { return rows.is_null(row, column) ? "-" : rows.str(row, column); }

void print_queues(const pg::Rows& rows) {
  Table table({"QUEUE", "STATE", "WAITING", "RUNNING", "AT ONCE", "OF A KEY", "RATE"});
  for (int i = 0; i < rows.size(); ++i) {
    table.add({rows.str(i, 0), rows.boolean(i, 1) ? "paused" : "served", rows.str(i, 4), rows.str(i, 5), limit(rows, i, 2),
               limit(rows, i, 3), rows.is_null(i, 6) ? "-" : rows.str(i, 6) + " in " + rows.str(i, 7)});
  }
  std::printf("%s", table.text().c_str());
}

void print_queues_json(const pg::Rows& rows) {
  const auto number = [&](int row, int column) { return rows.is_null(row, column) ? std::string("null") : rows.str(row, column); };
  std::vector<std::string> queues;
  for (int i = 0; i < rows.size(); ++i) {
    queues.push_back(JsonObject()
                         .text("queue", rows.str(i, 0))
                         .boolean("paused", rows.boolean(i, 1))
                         .raw("concurrency", number(i, 2))
                         .raw("key_concurrency", number(i, 3))
                         .raw("rate", number(i, 6))
                         .text("rate_period", rows.is_null(i, 7) ? std::nullopt : std::optional(rows.str(i, 7)))
                         .number("waiting", rows.int64(i, 4))
                         .number("running", rows.int64(i, 5))
                         .str());
  }
  std::printf("%s\n", json_array(queues).c_str());
}

}  // namespace

int queue_set(const Globals& globals, const QueueOptions& options) {
  return with_database(kCommand, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::set_queue, pg::Params(options.name, options.concurrency, options.key_concurrency,
                                                               options.rate, options.rate_period));
    if (!rows) return tl::unexpected(Error(rows.error()).within("set_queue"));
    std::printf("%s is set\n", options.name.c_str());
    return kExitOk;
  });
}

int queue_change(const Globals& globals, QueueChange change, const std::string& name) {
  return with_database(kCommand, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto call = [&](const auto& statement, const char* function, const char* done,
                          const char* not_done) -> Result<int> {
      const auto rows = db.query(statement, pg::Params(name));
      if (!rows) return tl::unexpected(Error(rows.error()).within(function));
      if (!rows->boolean(0, 0)) return refuse("NAME: " + name + " " + not_done);
      std::printf("%s %s\n", name.c_str(), done);
      return kExitOk;
    };
    switch (change) {
      case QueueChange::pause: return call(sql::cli::pause_queue, "pause_queue", "is paused", "was paused already");
      case QueueChange::resume: return call(sql::cli::resume_queue, "resume_queue", "is served again", "was not paused");
      case QueueChange::remove: return call(sql::cli::remove_queue, "remove_queue", "is served without limits", "has no settings");
    }
    return kExitBug;
  });
}

int queue_list(const Globals& globals, bool json) {
  return with_database(kCommand, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::list_queues, pg::Params{});
    if (!rows) return tl::unexpected(Error(rows.error()).within("list"));
    if (json) print_queues_json(*rows);
    else print_queues(*rows);
    return kExitOk;
  });
}

}  // namespace romancy::cli
