// romancy versions, drain-version, resume-version, set-version: which code runs what (docs/versions.md).
#include <cstdio>
#include <utility>
#include <vector>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "cli/text.hpp"
#include "sql/cli.hpp"

namespace romancy::cli {
namespace {

std::optional<std::string> maybe(const pg::Rows& rows, int row, int column) {
  return rows.is_null(row, column) ? std::nullopt : std::optional(rows.str(row, column));
}

// A statement that answers true, or false when there was nothing to do.
template <class Statement>
int change(const std::string& command, const Globals& globals, const Statement& statement, const pg::Params& params,
           const std::string& function, const std::string& done, const std::string& not_done) {
  return with_database(command, globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(statement, params);
    if (!rows) return tl::unexpected(Error(rows.error()).within(function));
    if (!rows->boolean(0, 0)) return refuse(not_done);
    std::printf("%s\n", done.c_str());
    return kExitOk;
  });
}

}  // namespace

int versions(const Globals& globals, bool json) {
  return with_database("versions", globals, [&](pg::Blocking& db, const proc::Config&) -> Result<int> {
    const auto rows = db.query(sql::cli::list_versions, pg::Params{});
    if (!rows) return tl::unexpected(Error(rows.error()).within("versions"));
    Table table({"VERSION", "WORKERS", "INSTANCES", "DRAINING SINCE"});
    std::vector<std::string> objects;
    for (int i = 0; i < rows->size(); ++i) {
      table.add({rows->str(i, 0), rows->str(i, 1), rows->str(i, 2), maybe(*rows, i, 3).value_or("-")});
      objects.push_back(JsonObject()
                            .text("version", rows->str(i, 0))
                            .number("workers", rows->int64(i, 1))
                            .number("instances", rows->int64(i, 2))
                            .text("draining_since", maybe(*rows, i, 3))
                            .str());
    }
    std::printf("%s", json ? (json_array(objects) + "\n").c_str() : table.text().c_str());
    return kExitOk;
  });
}

int drain_version(const Globals& globals, const std::string& version) {
  return change("drain-version", globals, sql::cli::drain_version, pg::Params(version), "drain_version",
                version + " drains", "VERSION: " + version + " drains already");
}

int resume_version(const Globals& globals, const std::string& version) {
  return change("resume-version", globals, sql::cli::resume_version, pg::Params(version), "resume_version",
                version + " goes on", "VERSION: " + version + " did not drain");
}

int set_version(const Globals& globals, const std::string& id, const std::string& version) {
  return change("set-version", globals, sql::cli::set_workflow_version, pg::Params(id, version), "set_workflow_version",
                id + " is pinned to " + version, "ID: " + id + " is pinned to " + version + " already");
}

}  // namespace romancy::cli
