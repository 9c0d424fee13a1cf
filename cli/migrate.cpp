// romancy migrate: brings the schema to the version of this program. Harmless to run again; several at once are one.
#include <cstdio>

#include "cli/commands.hpp"
#include "cli/exit_codes.hpp"
#include "common/pg/migrate.hpp"

namespace romancy::cli {

int migrate(const Globals& globals) {
  return with_server("migrate", globals, [](pg::Blocking& db, const proc::Config& config) -> Result<int> {
    const auto report = pg::migrate(db, config.schema);
    if (!report) return tl::unexpected(report.error());
    if (report->from == report->to) {
      std::printf("schema %s: version %d, nothing to migrate%s\n", config.schema.c_str(), report->to,
                  report->code_made ? "; functions and views made anew" : "");
    } else {
      std::printf("schema %s: version %d -> %d\n", config.schema.c_str(), report->from, report->to);
      for (const auto& name : report->applied) std::printf("  applied %s\n", name.c_str());
    }
    for (const auto& role : report->missing_roles) {
      std::fprintf(stderr,
                   "romancy migrate: role %s is missing and could not be made; as a superuser: CREATE ROLE %s NOLOGIN; "
                   "then migrate again\n",
                   role.c_str(), role.c_str());
    }
    return kExitOk;
  });
}

}  // namespace romancy::cli
