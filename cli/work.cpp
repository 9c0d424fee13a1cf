// romancy start, result, publish, cancel, resume, compensate, remove, prune: the same functions any SQL client may call (resume
// and prune: any worker).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/input.hpp"
#include "cli/text.hpp"
#include "common/pg/await_end.hpp"
#include "sql/cli.hpp"

namespace romancy::cli {
namespace {

// Its output is what a script wants; everything else goes to standard error.
int print_end(const std::string& command, const std::string& id, const pg::End& end, bool json) {
  if (json) {
    std::printf("%s\n", JsonObject().text("instance_id", id).text("status", end.status).raw("output", end.output).raw("error", end.error).str().c_str());
  } else if (end.status == "completed") {
    std::printf("%s\n", end.output.value_or("null").c_str());
  }
  if (end.status == "completed") return kExitOk;
  return fail(command, kExitEnded, id + " " + (end.status == "failed" ? "failed" : "is cancelled") + ": " + end.error.value_or("null"));
}

Result<int> wait_for(const std::string& command, pg::Blocking& db, const std::string& schema, const ResultOptions& options) {
  using Clock = std::chrono::steady_clock;
  constexpr double kForever = 10.0 * 365 * 86'400;
  const std::chrono::duration<double> timeout(std::min(options.timeout.value_or(kForever), kForever));
  auto end = pg::await_end(db, schema, options.id, Clock::now() + std::chrono::ceil<Clock::duration>(timeout));
  if (!end) return tl::unexpected(std::move(end.error()));
  if (!*end) return fail(command, kExitTimeout, options.id + " has not ended in time");
  return print_end(command, options.id, **end, options.json);
}

}  // namespace

int result(const Globals& globals, const ResultOptions& options) {
  return with_database("result", globals, [&](pg::Blocking& db, const proc::Config& config) -> Result<int> {
    if (options.wait) return wait_for("result", db, config.schema, options);
    const auto rows = db.query(sql::cli::workflow_result, pg::Params(options.id));
    if (!rows) return tl::unexpected(Error(rows.error()).within("workflow_result"));
    const auto text = [&](int column) { return rows->is_null(0, column) ? std::nullopt : std::optional(rows->str(0, column)); };
    const pg::End end{rows->str(0, 0), text(1), text(2)};
    if (!end.output && !end.error) return refuse("ID: " + options.id + " has not finished: " + end.status);
    return print_end("result", options.id, end, options.json);
  });
}

int start(const Globals& globals, const StartOptions& options) {
  const auto input = read_json_argument("--input", options.input);
  if (!input) return fail("start", kExitUsage, input.error().text);
  return with_database("start", globals, [&](pg::Blocking& db, const proc::Config& config) -> Result<int> {
    const auto rows =
        db.query(sql::cli::start_workflow, pg::Params(options.name, *input, options.id, options.queue, options.at, options.on_finished,
                                                       options.priority, options.key));
    if (!rows) {
      const bool bad_time = rows.error().sqlstate == "22007" || rows.error().sqlstate == "22008";
      return tl::unexpected(Error(rows.error()).within(bad_time ? "--at" : "start_workflow"));
    }
    const std::string id = rows->str(0, 0);
    if (options.wait) return wait_for("start", db, config.schema, {id, options.json, true, options.timeout});
    std::printf("%s\n", options.json ? JsonObject().text("instance_id", id).str().c_str() : id.c_str());
    return kExitOk;
  });
}

int publish(const Globals& globals, const PublishOptions& options) {
  const auto data = read_json_argument("--data", options.data);
  if (!data) return fail("publish", kExitUsage, data.error().text);
  const auto metadata = read_json_argument("--metadata", options.metadata);
  if (!metadata) return fail("publish", kExitUsage, metadata.error().text);
  return with_database("publish", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::publish, pg::Params(options.channel, *data, *metadata, options.to));
    if (!rows) return tl::unexpected(Error(rows.error()).within("publish"));
    if (rows->is_null(0, 0)) {
      return refuse("--to: " + options.to.value_or("") + " has finished; nothing was published");
    }
    const std::int64_t id = rows->int64(0, 0);
    std::printf("%s\n",
                options.json ? JsonObject().number("message_id", id).str().c_str() : std::to_string(id).c_str());
    return kExitOk;
  });
}

int cancel(const Globals& globals, const std::string& id, const std::optional<std::string>& reason) {
  return with_database("cancel", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::cancel_workflow, pg::Params(id, reason));
    if (!rows) return tl::unexpected(Error(rows.error()).within("cancel_workflow"));
    if (!rows->boolean(0, 0)) return refuse("ID: " + id + " is cancelled already");
    std::printf("cancellation of %s requested\n", id.c_str());
    return kExitOk;
  });
}

int resume(const Globals& globals, const std::string& id) {
  return with_database("resume", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::resume_workflow, pg::Params(id));
    if (!rows) return tl::unexpected(Error(rows.error()).within("resume_workflow"));
    if (!rows->boolean(0, 0)) return refuse("ID: " + id + " was not stuck");
    std::printf("%s goes on\n", id.c_str());
    return kExitOk;
  });
}

int remove(const Globals& globals, const std::string& id) {
  return with_database("remove", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::remove_workflow, pg::Params(id));
    if (!rows) return tl::unexpected(Error(rows.error()).within("remove_workflow"));
    if (!rows->boolean(0, 0)) return refuse("ID: there is no instance " + id);
    std::printf("%s is removed\n", id.c_str());
    return kExitOk;
  });
}

// A batch is a transaction; what was removed before something went wrong stays removed.
int prune(const Globals& globals, const PruneOptions& options) {
  const auto older = proc::parse_duration(options.older_than);
  if (!older) return fail("prune", kExitUsage, "--older-than: " + older.error().text);
  return with_database("prune", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    constexpr std::pair<std::string_view, int> kFinal[] = {{"completed", 2}, {"failed", 3}, {"cancelled", 4}};
    std::int64_t count = 0;
    for (const auto& [name, number] : kFinal) {
      if (options.status && *options.status != name) continue;
      for (bool more = true; more;) {
        const auto rows = db.query(options.dry_run ? sql::cli::count_finished : sql::cli::prune, pg::Params(number, older->count()));
        if (!rows) return tl::unexpected(Error(rows.error()).within("remove_finished"));
        count += rows->int64(0, 0);
        more = !options.dry_run && rows->boolean(0, 1);
      }
    }
    if (options.json) {
      std::printf("%s\n", JsonObject().number(options.dry_run ? "would_remove" : "removed", count).str().c_str());
    } else {
      std::printf("%lld instances %s\n", static_cast<long long>(count), options.dry_run ? "would be removed" : "removed");
    }
    return kExitOk;
  });
}

int compensate(const Globals& globals, const std::string& id, bool give_up) {
  return with_database("compensate", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto done =
        db.query(give_up ? sql::cli::give_up_compensations : sql::cli::retry_compensations, pg::Params(id));
    if (!done) {
      return tl::unexpected(Error(done.error()).within(give_up ? "give_up_compensations" : "retry_compensations"));
    }
    std::printf("the failed compensations of %s %s\n", id.c_str(), give_up ? "are given up" : "run again");
    return kExitOk;
  });
}

}  // namespace romancy::cli
