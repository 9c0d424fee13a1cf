// romancy schedule: the functions any SQL client may call, the list, and a look ahead that needs no database.
#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/input.hpp"
#include "cli/text.hpp"
#include "common/cron/cron.hpp"
#include "sql/cli.hpp"

namespace romancy::cli {
namespace {

const std::string kCommand = "schedule";

std::optional<std::string> maybe(const pg::Rows& rows, int row, int column) {
  return rows.is_null(row, column) ? std::nullopt : std::optional(rows.str(row, column));
}

// What a schedule is about to do, in a few words.
std::string state(const pg::Rows& rows, int row) {
  if (rows.boolean(row, 9)) return "paused";
  return maybe(rows, row, 10).value_or("not computed yet");
}

void print_schedules(const pg::Rows& rows) {
  Table table({"SCHEDULE", "WORKFLOW", "QUEUE", "WHEN", "ZONE", "OVERLAP", "NEXT", "LAST", "STATUS", "STARTED", "OVERLAPPED", "MISSED", "NOTE"});
  for (int i = 0; i < rows.size(); ++i) {
    table.add({rows.str(i, 0), rows.str(i, 1), rows.str(i, 2),
               rows.is_null(i, 3) ? "every " + rows.str(i, 4) : rows.str(i, 3), rows.str(i, 5), rows.str(i, 7),
               state(rows, i), maybe(rows, i, 12).value_or("-"), maybe(rows, i, 14).value_or("-"), rows.str(i, 15),
               rows.str(i, 16), rows.str(i, 17), shorten(maybe(rows, i, 18).value_or(""), 60)});
  }
  std::printf("%s", table.text().c_str());
}

void print_schedules_json(const pg::Rows& rows) {
  std::vector<std::string> schedules;
  for (int i = 0; i < rows.size(); ++i) {
    schedules.push_back(JsonObject()
                            .text("name", rows.str(i, 0))
                            .text("workflow_name", rows.str(i, 1))
                            .text("queue", rows.str(i, 2))
                            .text("cron", maybe(rows, i, 3))
                            .text("every", maybe(rows, i, 4))
                            .text("time_zone", rows.str(i, 5))
                            .text("jitter", rows.str(i, 6))
                            .text("overlap", rows.str(i, 7))
                            .text("catch_up", rows.str(i, 8))
                            .boolean("paused", rows.boolean(i, 9))
                            .text("next_tick", maybe(rows, i, 10))
                            .text("queued_tick", maybe(rows, i, 11))
                            .text("last_tick", maybe(rows, i, 12))
                            .text("last_instance_id", maybe(rows, i, 13))
                            .text("last_status", maybe(rows, i, 14))
                            .number("started", rows.int64(i, 15))
                            .number("overlapped", rows.int64(i, 16))
                            .number("missed", rows.int64(i, 17))
                            .text("note", maybe(rows, i, 18))
                            .raw("input", rows.str(i, 19))
                            .str());
  }
  std::printf("%s\n", json_array(schedules).c_str());
}

}  // namespace

int schedule_create(const Globals& globals, const ScheduleOptions& options) {
  const auto input = read_json_argument("--input", options.input);
  if (!input) return fail(kCommand, kExitUsage, input.error().text);
  return with_database(kCommand, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::create_schedule,
                               pg::Params(options.name, options.workflow, options.cron, options.every, options.time_zone,
                                          *input, options.queue, options.jitter, options.overlap, options.catch_up));
    if (!rows) return tl::unexpected(Error(rows.error()).within("create_schedule"));
    std::printf("%s %s\n", options.name.c_str(), rows->str(0, 0).c_str());
    return kExitOk;
  });
}

int schedule_change(const Globals& globals, ScheduleChange change, const std::string& name) {
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
      case ScheduleChange::pause: return call(sql::cli::pause_schedule, "pause_schedule", "is paused", "was paused already");
      case ScheduleChange::resume: return call(sql::cli::resume_schedule, "resume_schedule", "goes on", "was not paused");
      case ScheduleChange::remove: return call(sql::cli::remove_schedule, "remove_schedule", "is removed", "is no schedule");
    }
    return kExitBug;
  });
}

int schedule_trigger(const Globals& globals, const std::string& name) {
  return with_database(kCommand, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::trigger_schedule, pg::Params(name));
    if (!rows) return tl::unexpected(Error(rows.error()).within("trigger_schedule"));
    std::printf("%s\n", rows->str(0, 0).c_str());
    return kExitOk;
  });
}

int schedule_list(const Globals& globals, bool json) {
  return with_database(kCommand, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::list_schedules, pg::Params{});
    if (!rows) return tl::unexpected(Error(rows.error()).within("list"));
    if (json) print_schedules_json(*rows);
    else print_schedules(*rows);
    return kExitOk;
  });
}

int schedule_next(const NextOptions& options) {
  const auto ticks = cron::Ticks::of_cron(options.cron, options.time_zone);
  if (!ticks) return fail(kCommand, kExitRefused, ticks.error().text);
  auto moment = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  if (options.from) {
    const auto from = cron::parse_utc(*options.from);
    if (!from) return fail(kCommand, kExitUsage, "--from: must look like 2026-01-31T12:00:00Z");
    moment = *from;
  }
  for (int n = 0; n < options.count; ++n) {
    moment = ticks->after(moment);
    std::printf("%s  %s\n", cron::utc(moment).c_str(), ticks->local(moment).c_str());
  }
  return kExitOk;
}

}  // namespace romancy::cli
